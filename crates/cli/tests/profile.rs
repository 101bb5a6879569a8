//! `run --profile`: where a program's fuel goes, by counts that can be made by hand.

mod scene;

use scene::{BUSY, Scene};

/// main: 1 for entering, 2 for const and call, twice. a and b: 1 for entering, and rounds of 5 (get,
/// const, sub, tee, br_if). So main is entered at 0 and a at 3; its loop is tested at 4, 9, 14, 19
/// and 24, and ends at 29; b is entered at 31, its loop is tested at 32, 37 and 42, and ends at 47.
const WORK: &str = r#"
    (module $work
      (memory 1)
      (func $main (export "main") (call $a (i32.const 5)) (call $b (i32.const 3)))
      (func $a (param i32)
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
      (func $b (param i32)
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
      (func $fill (export "fill")
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 1000)))
      (func $deep (export "deep") (param i32)
        (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))))))
"#;

#[test]
fn profile_counts_the_stack_at_each_interval() {
    let scene = Scene::new(&[("work.wat", WORK)]);
    let run = |interval: &str, entry: &str, more: &[&str]| {
        let flags = ["run", "--profile", "out.folded", "--profile-interval", interval];
        let flags = [&flags[..], more, &["--invoke", entry, "work.wat"]].concat();
        let ended = scene.stillframe(&flags);
        (ended.code, scene.read("out.folded"), ended.stderr.lines().last().unwrap().to_string())
    };
    // Samples after 10, 20, 30 and 40 units: at 14, 24, 31 and 42.
    let (code, lines, said) = run("10", "main", &[]);
    assert_eq!((code, &*lines), (0, "main;a 20\nmain;b 20\n"));
    assert_eq!(said, "profile: 4 samples, one per 10 units, 47 units in all: out.folded");
    // At 3, 4, 9, 14, 19, 24, 31, 32, 37 and 42: the test at 24 is the last before 30.
    let (_, lines, said) = run("1", "main", &[]);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(said.ends_with(", 47 units in all: out.folded"), "{said}");
    // With 35 units the last piece has 5, from 31 on; they are used up at 37.
    let (code, lines, said) = run("10", "main", &["--fuel", "35"]);
    assert_eq!((code, &*lines), (134, "main;a 20\nmain;b 10\n"));
    assert_eq!(said, "profile: 3 samples, one per 10 units, 37 units in all: out.folded");
    // Who takes 1000 units at once is counted for them: some are left of the first 100.
    let (_, lines, _) = run("100", "fill", &[]);
    assert_eq!(lines, "fill 1000\n");
}

#[test]
fn profile_is_the_same_picture_each_time() {
    let scene = Scene::new(&[("work.wat", WORK)]);
    let picture = |file: &str| {
        let flags = ["run", "--profile", file, "--profile-interval", "5"];
        let ended = scene.stillframe(&[&flags[..], &["--invoke", "main", "work.wat"]].concat());
        assert_eq!((ended.code, &*ended.stdout), (0, ""), "{}", ended.stderr);
        scene.read(file)
    };
    let first = picture("first.svg");
    assert!(first == picture("second.svg"));
    assert!(first.starts_with("<?xml"));
    for shown in ["main (", "a (", "b (", "units of fuel", "Fuel of work.wat"] {
        assert!(first.contains(shown), "{shown} is missing");
    }
}

#[test]
fn profile_of_deep_recursion_has_both_ends() {
    let scene = Scene::new(&[("work.wat", WORK)]);
    let flags = ["run", "--profile", "out.txt", "--profile-interval", "1000"];
    let ended = scene.stillframe(&[&flags[..], &["--invoke", "deep", "work.wat", "9999"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines = scene.read("out.txt");
    let deepest = lines.lines().max_by_key(|line| line.len()).unwrap();
    let names: Vec<&str> = deepest.rsplit_once(' ').unwrap().0.split(';').collect();
    assert_eq!(names.len(), 192 + 1 + 64);
    assert_eq!((names[0], names[192], names[256]), ("deep", "(deeper)", "deep"));
}

#[test]
fn profile_is_written_also_when_the_program_is_stopped() {
    let scene = Scene::new(&[("busy.wat", BUSY)]);
    let flags = ["run", "--profile", "out.folded", "--profile-interval", "1000"];
    let flags = [&flags[..], &["--invoke", "count", "busy.wat", "0"]].concat();
    // Long enough for a first sample, with much to spare.
    let ended = scene.interrupted(&flags, &[]);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    let said = ended.stderr.lines().last().unwrap();
    assert!(said.starts_with("profile: "), "{}", ended.stderr);
    if !said.contains("no samples") {
        assert!(scene.read("out.folded").starts_with("count "));
    }
}

#[test]
fn profile_of_too_short_a_program_says_so() {
    let scene = Scene::new(&[("work.wat", WORK)]);
    let ended = scene.stillframe(&["run", "--profile", "out.svg", "--invoke", "main", "work.wat"]);
    assert_eq!(ended.code, 0);
    assert_eq!(
        ended.stderr,
        "profile: no samples: the program took 47 units, and --profile-interval is 100,000; \
         out.svg was not written\n"
    );
    assert!(!scene.path("out.svg").exists());
}
