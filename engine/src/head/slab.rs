//! Byte buffers of a few sizes, packed into pages: where the open chunks of the head live.
//!
//! A million separate allocations cost more in headers and slack than the chunks themselves. Buffers of
//! one size class share 256 KiB pages; freed ones are used again. Invariant: a handle is owned by one
//! series and is given back exactly once.

/// Buffer sizes in bytes, ascending.
const SIZES: [usize; 9] = [32, 48, 64, 96, 128, 192, 256, 384, 560];
const PAGE_BYTES: usize = 256 << 10;

/// A buffer of a [`Slab`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle {
    slot: u32,
    class: u8,
}

#[derive(Debug, Default)]
struct Class {
    pages: Vec<Box<[u8]>>,
    free: Vec<u32>,
    used: u32,
}

/// Pages of equally sized buffers.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    classes: [Class; SIZES.len()],
}

impl Slab {
    /// The largest buffer.
    pub(crate) const LARGEST: usize = SIZES[SIZES.len() - 1];

    /// A handle of no buffer.
    pub(crate) fn none() -> Handle {
        Handle { slot: u32::MAX, class: 0 }
    }

    /// A buffer of at least `size` bytes, at most [`Slab::LARGEST`]; its content is arbitrary.
    pub(crate) fn alloc(&mut self, size: usize) -> Handle {
        let index = SIZES.iter().position(|s| *s >= size).unwrap_or(SIZES.len() - 1);
        let class = &mut self.classes[index];
        let slot = class.free.pop().unwrap_or_else(|| {
            let per_page = PAGE_BYTES / SIZES[index];
            if class.used as usize == class.pages.len() * per_page {
                class.pages.push(vec![0; PAGE_BYTES].into_boxed_slice());
            }
            class.used += 1;
            class.used - 1
        });
        Handle { slot, class: index as u8 }
    }

    /// Gives a buffer back.
    pub(crate) fn free(&mut self, handle: Handle) {
        self.classes[usize::from(handle.class)].free.push(handle.slot);
    }

    /// How many bytes a buffer holds.
    pub(crate) fn capacity(handle: Handle) -> usize {
        SIZES[usize::from(handle.class)]
    }

    /// A buffer's bytes.
    #[inline]
    pub(crate) fn get(&self, handle: Handle) -> &[u8] {
        let size = SIZES[usize::from(handle.class)];
        let per_page = PAGE_BYTES / size;
        let (page, at) = (handle.slot as usize / per_page, handle.slot as usize % per_page * size);
        &self.classes[usize::from(handle.class)].pages[page][at..at + size]
    }

    /// A buffer's bytes, to be written.
    #[inline]
    pub(crate) fn get_mut(&mut self, handle: Handle) -> &mut [u8] {
        let size = SIZES[usize::from(handle.class)];
        let per_page = PAGE_BYTES / size;
        let (page, at) = (handle.slot as usize / per_page, handle.slot as usize % per_page * size);
        &mut self.classes[usize::from(handle.class)].pages[page][at..at + size]
    }

    /// Moves the first `used` bytes of a buffer into one of at least `size` bytes.
    pub(crate) fn grow(&mut self, handle: Handle, used: usize, size: usize) -> Handle {
        let larger = self.alloc(size);
        let mut bytes = [0; Self::LARGEST];
        bytes[..used].copy_from_slice(&self.get(handle)[..used]);
        self.get_mut(larger)[..used].copy_from_slice(&bytes[..used]);
        self.free(handle);
        larger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_keep_their_bytes_apart() {
        let mut slab = Slab::default();
        let mut held: Vec<(Handle, usize, u8)> = Vec::new();
        for i in 0..20_000usize {
            let size = 1 + i * 7 % Slab::LARGEST;
            let mut handle = slab.alloc(size);
            slab.get_mut(handle)[..size].fill(i as u8);
            if i % 3 == 0 && size < 300 {
                handle = slab.grow(handle, size, size + 200);
            }
            held.push((handle, size, i as u8));
            if i % 5 == 0 {
                let (handle, size, fill) = held.swap_remove(i / 2 % held.len());
                assert!(slab.get(handle)[..size].iter().all(|b| *b == fill));
                slab.free(handle);
            }
        }
        for (handle, size, fill) in held {
            assert!(slab.get(handle)[..size].iter().all(|b| *b == fill));
        }
    }
}
