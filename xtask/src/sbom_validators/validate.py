"""Reads one document a line from stdin and prints one line for each: `valid`, or its first problems."""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.casing_tools import snake_case_to_camel_case
from spdx_tools.spdx.jsonschema.checksum_properties import ChecksumProperty
from spdx_tools.spdx.jsonschema.creation_info_properties import CreationInfoProperty
from spdx_tools.spdx.jsonschema.document_properties import DocumentProperty
from spdx_tools.spdx.jsonschema.external_package_ref_properties import ExternalPackageRefProperty
from spdx_tools.spdx.jsonschema.file_properties import FileProperty
from spdx_tools.spdx.jsonschema.package_properties import PackageProperty
from spdx_tools.spdx.jsonschema.relationship_properties import RelationshipProperty
from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

# The parser of spdx-tools skips keys that it does not know; the published schema forbids them.
KEYS = {
    "": DocumentProperty,
    "creationInfo": CreationInfoProperty,
    "packages": PackageProperty,
    "files": FileProperty,
    "relationships": RelationshipProperty,
    "checksums": ChecksumProperty,
    "externalRefs": ExternalPackageRefProperty,
}


def known_keys(kind):
    return {"SPDXID" if one.name == "SPDX_ID" else snake_case_to_camel_case(one.name.lower()) for one in kind} | {
        "spdxElementId"
    }


def unknown_keys(value, place=""):
    if isinstance(value, list):
        for one in value:
            yield from unknown_keys(one, place)
    elif isinstance(value, dict):
        for key in value.keys() - known_keys(KEYS[place]):
            yield f"unknown key `{key}` in `{place or 'document'}`"
        for key, one in value.items():
            if isinstance(one, dict) or (isinstance(one, list) and one and isinstance(one[0], dict)):
                if key in KEYS:
                    yield from unknown_keys(one, key)


def cyclonedx(text):
    # The strict schema: an unknown key is an error.
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    problems = [] if problem is None else [str(problem.data)]
    # The schema takes any text.
    if json.loads(text).get("specVersion") != "1.6":
        problems.append("specVersion is not 1.6")
    return problems


def spdx(document):
    try:
        parsed = JsonLikeDictParser().parse(document)
    except SPDXParsingError as error:
        return error.get_messages()
    problems = [message.validation_message for message in validate_full_spdx_document(parsed, "SPDX-2.3")]
    return problems + list(unknown_keys(document))


for line in sys.stdin:
    document = json.loads(line)
    if "bomFormat" in document:
        problems = cyclonedx(line)
    elif "spdxVersion" in document:
        problems = spdx(document)
    else:
        problems = ["neither CycloneDX nor SPDX"]
    text = "; ".join(problems)[:1000].replace("\n", " ")
    print(text or "valid", flush=True)
