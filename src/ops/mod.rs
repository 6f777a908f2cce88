//! The ops: one file an op, or one row of a family file. Which files there are is said by THE list, in `op/list.rs`.

mod edge;
mod norm;

macro_rules! declare_files {
    ($($file:ident { $($op:ident $(by $kernel:ident($code:ident::$call:ident))?),+ },)*) => {
        $(mod $file; pub use $file::*;)*
    };
}
crate::op::all_ops!(declare_files);
