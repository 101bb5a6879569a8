;;! Leaf functions that read and write a field, as modules of a program have them, and a loop that
;;! calls them.
;;! show: function $count
;;! show: function $set_count
;;! show: loop $bump
;;! configurations: all
(module
  (memory 1)
  (func $count (param $node i32) (result i32)
    (i32.load offset=8 (local.get $node)))
  (func $set_count (param $node i32) (param $count i32)
    (i32.store offset=8 (local.get $node) (local.get $count)))
  (func $bump (export "run") (param $node i32) (param $end i32)
    (loop $next
      (call $set_count (local.get $node)
        (i32.add (call $count (local.get $node)) (i32.const 1)))
      (local.set $node (i32.add (local.get $node) (i32.const 12)))
      (br_if $next (i32.lt_u (local.get $node) (local.get $end))))))
