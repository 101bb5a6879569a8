use super::*;
use crate::dwarf::fixture::{damaged, sections};

fn names_at(address: u64) -> Vec<(u32, String)> {
    SourceMap::new(&sections()).local_names_at(address)
}

fn names<const N: usize>(expected: [(u32, &str); N]) -> Vec<(u32, String)> {
    expected.map(|(local, name)| (local, name.to_string())).to_vec()
}

#[test]
fn variables_are_found_where_they_are_in_locals() {
    let outer = [(0, "kept"), (1, "moving"), (3, "&passed"), (6, "everywhere")];
    assert_eq!(names_at(16), names(outer));
    assert_eq!(names_at(23), names(outer));
}

#[test]
fn inner_scopes_come_first() {
    assert_eq!(
        names_at(24),
        names([(4, "kept"), (0, "kept"), (1, "moving"), (3, "&passed"), (6, "everywhere")])
    );
    assert_eq!(
        names_at(57),
        names([(4, "late"), (0, "kept"), (2, "moving"), (3, "&passed"), (6, "everywhere")])
    );
}

#[test]
fn inlined_functions_have_the_names_of_their_origins_in_any_unit() {
    let inlined = [(5, "argument"), (0, "foreign")];
    let around = [(4, "kept"), (0, "kept"), (2, "moving"), (3, "&passed"), (6, "everywhere")];
    assert_eq!(names_at(32), [names(inlined), names(around)].concat());
    assert_eq!(names_at(47), [names(inlined), names(around)].concat());
    assert_eq!(names_at(48), names(around));
}

#[test]
fn other_functions_and_places_without_one_add_nothing() {
    assert_eq!(names_at(15), []);
    assert_eq!(names_at(64), []);
    assert_eq!(names_at(u64::MAX), []);
    assert_eq!(SourceMap::new(&[]).local_names_at(16), []);
}

#[test]
fn damaged_sections_give_fewer_names_and_no_panic() {
    for sections in damaged() {
        let map = SourceMap::new(&sections);
        for address in [0, 16, 40, 63, 64] {
            map.local_names_at(address);
        }
    }
}
