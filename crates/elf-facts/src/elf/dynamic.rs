//! Interpretation of the entries of a dynamic section. Each reader supplies the entries and its own string lookup.

use crate::elf::types::Dynamic;

impl Dynamic {
    pub(super) const DT_STRTAB: u64 = 5;

    pub(super) fn empty() -> Dynamic {
        Dynamic {
            needed: Vec::new(),
            soname: None,
            rpath: None,
            runpath: None,
            flags: 0,
            flags_1: 0,
            has_text_relocations: false,
            binds_now: false,
            has_lazy_bindings: false,
        }
    }

    /// Adds the entries before `DT_NULL`. A name outside of the file is an error: a loader would read other bytes there.
    pub(super) fn add<'a>(
        &mut self,
        entries: &[(u64, u64)],
        string: impl Fn(u64) -> Option<&'a [u8]>,
    ) -> Result<(), String> {
        const DF_TEXTREL: u64 = 4;
        const DF_BIND_NOW: u64 = 8;
        const DF_1_NOW: u64 = 1;
        let name = |value: u64| match string(value) {
            Some(name) => Ok(String::from_utf8_lossy(name).into_owned()),
            None => Err(format!("the dynamic section refers to a string at {value:#x}, outside of the file")),
        };
        for &(tag, value) in entries.iter().take_while(|entry| entry.0 != 0) {
            match tag {
                1 => self.needed.push(name(value)?),
                2 => self.has_lazy_bindings |= value != 0,
                14 => self.soname = Some(name(value)?),
                15 => self.rpath = Some(name(value)?),
                22 => self.has_text_relocations = true,
                24 => self.binds_now = true,
                29 => self.runpath = Some(name(value)?),
                30 => self.flags |= value,
                0x6fff_fffb => self.flags_1 |= value,
                _ => {}
            }
        }
        self.has_text_relocations |= self.flags & DF_TEXTREL != 0;
        self.binds_now |= self.flags & DF_BIND_NOW != 0 || self.flags_1 & DF_1_NOW != 0;
        self.has_lazy_bindings &= !self.binds_now;
        Ok(())
    }
}
