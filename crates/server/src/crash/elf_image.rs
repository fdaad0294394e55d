//! Facts from the program headers of this process: the build-id and the range of its code.

use core::ops::Range;
use std::sync::OnceLock;

/// Longer build-ids are cut: a SHA-1 has 20 bytes.
const BUILD_ID_BYTES_MAX: usize = 32;
const NT_GNU_BUILD_ID: u32 = 3;

/// Facts of the ELF image in memory, from the program headers of the running program.
pub struct ElfImage {
    build_id: [u8; BUILD_ID_BYTES_MAX],
    build_id_bytes: usize,
    /// Addresses of the code.
    pub code: Range<usize>,
}

static OWN: OnceLock<ElfImage> = OnceLock::new();

/// The facts, once [`read_own`] has read them.
pub fn own() -> Option<&'static ElfImage> {
    OWN.get()
}

/// Reads the headers in memory. The loader of a packed file passes those of the program inside.
pub fn read_own() {
    // SAFETY: getauxval has no preconditions.
    let address = unsafe { libc::getauxval(libc::AT_PHDR) };
    // SAFETY: the same.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) };
    if address == 0 {
        return;
    }
    let first = address as *const libc::Elf64_Phdr;
    // SAFETY: the kernel, or the loader of a packed file, passes the address and the number of the program headers, which
    // are mapped as long as the process runs.
    let headers = unsafe { core::slice::from_raw_parts(first, count as usize) };
    let _ = OWN.set(ElfImage::of(headers));
}

impl ElfImage {
    /// The program has a fixed position, which the gate requires: addresses of headers are addresses of memory.
    fn of(headers: &[libc::Elf64_Phdr]) -> Self {
        let mut image = Self { build_id: [0; BUILD_ID_BYTES_MAX], build_id_bytes: 0, code: 0..0 };
        for header in headers {
            let (start, bytes) = (header.p_vaddr as usize, header.p_memsz as usize);
            match header.p_type {
                libc::PT_LOAD if header.p_flags & libc::PF_X != 0 => image.code = start..start + bytes,
                libc::PT_NOTE => {
                    // SAFETY: the segment is part of a loaded one.
                    let note = unsafe { core::slice::from_raw_parts(start as *const u8, bytes) };
                    image.set_build_id(note);
                }
                _ => {}
            }
        }
        image
    }

    fn set_build_id(&mut self, note: &[u8]) {
        let number = |at: usize| {
            note.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        let (name_bytes, id_bytes, kind) = (number(0) as usize, number(4) as usize, number(8));
        let id = note.get(12 + name_bytes.next_multiple_of(4)..).and_then(|rest| rest.get(..id_bytes));
        let Some(id) = id.filter(|id| kind == NT_GNU_BUILD_ID && id.len() <= BUILD_ID_BYTES_MAX) else {
            return;
        };
        self.build_id[..id.len()].copy_from_slice(id);
        self.build_id_bytes = id.len();
    }

    /// The bytes of the build-id; empty when the program has none.
    pub fn build_id(&self) -> &[u8] {
        &self.build_id[..self.build_id_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_note_and_rejects_a_cut_one() {
        let mut image = ElfImage { build_id: [0; BUILD_ID_BYTES_MAX], build_id_bytes: 0, code: 0..0 };
        let note = b"\x04\0\0\0\x03\0\0\0\x03\0\0\0GNU\0\xab\xcd\xef";
        image.set_build_id(&note[..18]);
        assert!(image.build_id().is_empty());
        image.set_build_id(note);
        assert_eq!(image.build_id(), [0xab, 0xcd, 0xef]);
    }

    #[test]
    fn the_own_code_contains_a_function_of_it() {
        read_own();
        assert!(own().unwrap().code.contains(&(read_own as *const () as usize)));
    }
}
