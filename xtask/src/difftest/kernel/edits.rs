//! The edits of the two header tables: every single bit, boundary values of every field, exchanged fields and headers, and
//! random bytes.

use std::collections::HashSet;
use std::fmt;

use process::sandbox::Patch;

use super::headers::{Field, Headers, value};
use super::random::Random;

const PAGE: u64 = 0x1000;

/// A change of a file, which keeps its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The field, or what is changed.
    pub place: String,
    pub change: String,
    pub patches: Vec<Patch>,
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.change)
    }
}

impl Edit {
    /// Changes the bytes and returns what undoes it.
    pub fn apply(&self, bytes: &mut [u8]) -> Edit {
        let mut undo: Vec<Patch> = Vec::new();
        for Patch { offset, bytes: new } in &self.patches {
            let at = *offset as usize;
            if let Some(old) = bytes.get_mut(at..at + new.len()) {
                undo.push(Patch { offset: *offset, bytes: old.to_vec() });
                old.copy_from_slice(new);
            }
        }
        undo.reverse();
        Edit { patches: undo, ..self.clone() }
    }
}

/// All edits, without those that change nothing or repeat another one. `random` of them consist of random bytes.
pub fn all(bytes: &[u8], headers: &Headers, random: usize, seed: u64) -> Vec<Edit> {
    let edits = single_bits(bytes, headers).chain(boundary_values(bytes, headers));
    let edits = edits.chain(exchanges(bytes, headers)).chain(random_bytes(bytes, headers, random, seed));
    let mut known = HashSet::new();
    edits
        .filter(|edit| {
            let changed = changed_bytes(bytes, edit);
            !changed.is_empty() && known.insert(changed)
        })
        .collect()
}

/// Each changed byte with its value: two edits that change the same are one.
fn changed_bytes(original: &[u8], edit: &Edit) -> Vec<(u64, u8)> {
    let bytes = |patch: &Patch| (patch.offset..).zip(patch.bytes.clone()).collect::<Vec<_>>();
    let mut changed: Vec<(u64, u8)> = edit.patches.iter().flat_map(bytes).collect();
    changed.retain(|&(offset, byte)| original.get(offset as usize) != Some(&byte));
    changed.sort_unstable();
    changed
}

fn single_bits<'a>(bytes: &'a [u8], headers: &'a Headers) -> impl Iterator<Item = Edit> + 'a {
    headers.fields.iter().flat_map(move |field| {
        (0..field.size * 8).map(move |bit| {
            let offset = field.offset + bit / 8;
            let patch = Patch { offset: offset as u64, bytes: vec![bytes[offset] ^ (1 << (bit % 8))] };
            Edit { place: field.to_string(), change: format!("bit {bit} inverted"), patches: vec![patch] }
        })
    })
}

fn boundary_values<'a>(bytes: &'a [u8], headers: &'a Headers) -> impl Iterator<Item = Edit> + 'a {
    headers.fields.iter().filter(|field| field.size.is_power_of_two()).flat_map(move |field| {
        let now = value(bytes, field.offset, field.size);
        let max = u64::MAX >> (64 - 8 * field.size);
        let values = [
            0,
            1,
            2,
            max,
            max / 2,
            max / 2 + 1,
            PAGE - 1,
            PAGE,
            PAGE + 1,
            now.wrapping_add(1),
            now.wrapping_sub(1),
            now.wrapping_add(8),
            now.wrapping_sub(8),
            now.wrapping_add(PAGE),
            now.wrapping_sub(PAGE),
            now.wrapping_mul(2),
            now / 2,
            bytes.len() as u64,
            bytes.len() as u64 - 1,
        ];
        values.into_iter().map(move |new| {
            let new = new & max;
            let patch = write(field, new);
            Edit {
                place: field.to_string(),
                change: format!("{now:#x} becomes {new:#x}"),
                patches: vec![patch],
            }
        })
    })
}

fn write(field: &Field, value: u64) -> Patch {
    Patch { offset: field.offset as u64, bytes: value.to_le_bytes()[..field.size].to_vec() }
}

/// Two fields of one header exchanged, two headers exchanged, one header in the place of another.
fn exchanges(bytes: &[u8], headers: &Headers) -> impl Iterator<Item = Edit> {
    let mut edits = Vec::new();
    for (index, field) in headers.fields.iter().enumerate() {
        for other in &headers.fields[index + 1..] {
            if other.segment == field.segment && other.size == field.size {
                let (here, there) =
                    (value(bytes, field.offset, field.size), value(bytes, other.offset, other.size));
                edits.push(Edit {
                    place: field.to_string(),
                    change: format!("exchanged with {}", other.name),
                    patches: vec![write(field, there), write(other, here)],
                });
            }
        }
    }
    let entry = |at: usize| bytes[at..at + Headers::entry_bytes()].to_vec();
    for (index, &at) in headers.segments.iter().enumerate() {
        for (other_index, &other) in headers.segments.iter().enumerate().filter(|(other, _)| *other != index)
        {
            let place = format!("program header {index}");
            let copy = Patch { offset: at as u64, bytes: entry(other) };
            if index < other_index {
                let patches = vec![copy.clone(), Patch { offset: other as u64, bytes: entry(at) }];
                let change = format!("exchanged with {other_index}");
                edits.push(Edit { place: place.clone(), change, patches });
            }
            edits.push(Edit { place, change: format!("replaced by {other_index}"), patches: vec![copy] });
        }
    }
    edits.into_iter()
}

/// 1 to 8 random bytes: in one place, or each in a place of its own.
fn random_bytes(bytes: &[u8], headers: &Headers, count: usize, seed: u64) -> impl Iterator<Item = Edit> {
    let mut random = Random::new(seed);
    let mut places: Vec<usize> =
        headers.fields.iter().flat_map(|field| field.offset..field.offset + field.size).collect();
    places.sort_unstable();
    let mut edits = Vec::new();
    for _ in 0..count {
        let length = 1 + random.below(8);
        let is_run = random.below(2) == 0;
        let start = random.below(places.len().saturating_sub(length));
        let mut patches = Vec::new();
        for index in 0..length {
            let place = if is_run { places[start + index] } else { places[random.below(places.len())] };
            patches.push(Patch { offset: place as u64, bytes: vec![random.next().to_le_bytes()[3]] });
        }
        // Two bytes of one place: the last one counts, and `changed_bytes` must see one.
        patches.reverse();
        let mut seen = HashSet::new();
        patches.retain(|patch| seen.insert(patch.offset));
        patches.retain(|patch| bytes.get(patch.offset as usize) != patch.bytes.first());
        let mut fields: Vec<String> = Vec::new();
        for patch in &patches {
            let field = headers.field_at(patch.offset).map_or_else(|| "?".into(), Field::to_string);
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        edits.push(Edit {
            place: fields.join(" + "),
            change: format!("{} random bytes", patches.len()),
            patches,
        });
    }
    edits.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> Vec<u8> {
        let root = crate::setup::workspace_root();
        std::fs::read(root.join("fixtures/elf/stripped")).unwrap()
    }

    #[test]
    fn covers_every_bit_of_both_tables_once_and_can_be_undone() {
        let mut bytes = fixture();
        let original = bytes.clone();
        let headers = Headers::find(&bytes).unwrap();
        let edits = all(&bytes, &headers, 100, 1);
        let bits = (64 + headers.segments.len() * 56) * 8;
        assert_eq!(edits.iter().filter(|edit| edit.change.ends_with("inverted")).count(), bits);
        let mut results = HashSet::new();
        for edit in &edits {
            let undo = edit.apply(&mut bytes);
            assert_ne!(bytes, original, "{edit}");
            let end = headers.segments.last().unwrap() + 56;
            assert!(results.insert(bytes[..end].to_vec()), "{edit} repeats another edit");
            undo.apply(&mut bytes);
            assert_eq!(bytes, original, "{edit}");
        }
    }

    #[test]
    fn a_seed_determines_the_random_edits() {
        let bytes = fixture();
        let headers = Headers::find(&bytes).unwrap();
        assert_eq!(all(&bytes, &headers, 50, 7), all(&bytes, &headers, 50, 7));
        assert_ne!(all(&bytes, &headers, 50, 7), all(&bytes, &headers, 50, 8));
    }

    #[test]
    fn rejects_files_whose_headers_it_cannot_find() {
        let bytes = fixture();
        let mut big_endian = bytes.clone();
        big_endian[5] = 2;
        let mut no_table = bytes.clone();
        no_table[56..58].fill(0);
        let mut outside = bytes.clone();
        outside[32..40].fill(0xff);
        for bad in [&bytes[..60], b"text", &big_endian, &no_table, &outside] {
            let problem = Headers::find(bad).err().unwrap();
            assert_eq!(problem.code(), &super::super::codes::UNSUPPORTED_PROGRAM);
        }
    }
}
