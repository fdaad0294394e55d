"""Prints the facts that LIEF reads from the files named on stdin: one line of JSON per file."""

import json
import sys

import lief

lief.logging.disable()
config = lief.ELF.ParserConfig()
config.parse_relocations = False
config.parse_symbol_versions = False
config.parse_overlay = False


def number(value):
    return int(getattr(value, "value", value))


def text(value):
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def read(path):
    binary = lief.ELF.parse(path, config)
    if binary is None:
        return None
    header = binary.header
    facts = {
        "machine": [str(number(header.machine_type))],
        "entry": [hex(header.entrypoint)],
        "segments": [
            [number(s.flags), s.file_offset, s.virtual_address, s.physical_size, s.virtual_size, s.alignment]
            for s in binary.segments
        ],
        # LIEF stores machine bits above the number of the file.
        "segment numbers": [hex(number(s.type) & 0xFFFFFFFF) for s in binary.segments],
        "interpreter": [binary.interpreter] if binary.has_interpreter else [],
        "needed": [text(name) for name in binary.libraries],
        "soname": [], "rpath": [], "runpath": [],
        "sections": [f"{text(s.name)} {s.offset:#x} {s.size:#x}" for s in binary.sections],
        ".symtab entries": [str(len(binary.symtab_symbols))],
        ".dynsym entries": [str(len(binary.dynamic_symbols))],
    }
    tags = lief.ELF.DynamicEntry.TAG
    for tag, fact, attribute in [(tags.SONAME, "soname", "name"), (tags.RPATH, "rpath", "rpath"), (tags.RUNPATH, "runpath", "runpath")]:
        entry = binary.get(tag)
        if entry is not None:
            facts[fact] = [text(getattr(entry, attribute))]
    return facts


for line in sys.stdin:
    path = line.rstrip("\n")
    print(json.dumps({"file": path, "facts": read(path)}), flush=True)
