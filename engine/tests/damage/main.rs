//! Damage on the disk: named when it is met, left out of partial answers with a warning, never answered as
//! data; and it keeps neither the rest from being answered nor the directory from opening.

mod blocks;
mod flips;
mod full;
mod head;
mod support;
