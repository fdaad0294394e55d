"""Shared by the benches: clean environment, description of the machine, texts, exit codes.

Exit codes of every bench: 0 measured, 1 the vectors differ from the reference, 2 not measured.
"""

import json
import os
import platform
import random
import subprocess
import sys

EXIT_DIFFERENT = 1
EXIT_NOT_MEASURED = 2
# Largest accepted absolute difference of a vector component.
MAX_ABS = 1e-5
# Variables that change the number of threads or the kernels of a BLAS.
BLAS_VARIABLES = ("OPENBLAS_", "OMP_", "MKL_", "KMP_", "GOTO_", "BLIS_", "VECLIB_")
# Flags of /proc/cpuinfo that select kernels.
ISA_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512vl", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8",
             "asimd", "asimdhp", "asimddp", "sve", "sve2")


class NotMeasured(Exception):
    """Nothing can be said; the reason is the argument."""


def clean_environment():
    """Removes inherited settings of BLAS libraries. Must run before numpy or torch is imported."""
    for name in list(os.environ):
        if name.startswith(BLAS_VARIABLES):
            del os.environ[name]


def machine(binary):
    """CPU, instruction set, kernel of the system, and the BLAS kernels that the binary selects."""
    cpu, flags = "unknown", set()
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = (part.strip() for part in line.partition(":"))
            if name == "model name":
                cpu = value
            elif name in ("flags", "Features"):
                flags.update(value.split())
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "kernel": f"{platform.system()} {platform.release()}",
        "blas": blas_core(binary),
    }


def blas_core(binary):
    """What `selftest` reports. A figure without it cannot be compared with another one."""
    child = subprocess.run([binary, "selftest", "--json"], capture_output=True, text=True, check=False)
    try:
        return json.loads(child.stdout)["openblas"]["core"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotMeasured(f"`{binary} selftest --json` does not report the BLAS kernels: {error!r}") from error


def print_machine(described):
    """One line on stderr."""
    isa = " ".join(described["isa"]) or "baseline"
    print(f"{described['cpu']}, {described['cores']} cores; ISA {isa}; {described['kernel']}; BLAS kernels {described['blas']}",
          file=sys.stderr)


def tag(described):
    """CPU, widest instruction set and BLAS kernels, for the end of each line with a figure."""
    widest = next((flag for flag in ("amx_bf16", "avx512f", "avx2", "sve", "asimd") if flag in described["isa"]), "baseline")
    return f"[{described['cpu']}, {widest}, {described['blas']}]"


def texts(vocabulary, count):
    """Texts of 8 to 128 words, the same in every run."""
    rng = random.Random(1)
    words = sorted(w for w in vocabulary if w.isalpha() and len(w) > 1)
    return [" ".join(rng.choices(words, k=rng.randint(8, 128))) for _ in range(count)]


def arguments_and_command(usage):
    """`SCRIPT ARGUMENT.. -- COMMAND..`: the arguments and the command."""
    if "--" not in sys.argv or sys.argv.index("--") < 2 or sys.argv[-1] == "--":
        raise NotMeasured(usage)
    split = sys.argv.index("--")
    return sys.argv[1:split], sys.argv[split + 1 :]


def run(main):
    """Runs a bench and exits."""
    clean_environment()
    try:
        sys.exit(main())
    except NotMeasured as reason:
        print(f"error: {reason}", file=sys.stderr)
    except Exception:  # an uncaught exception would exit with 1, which means different vectors
        import traceback
        traceback.print_exc()
    sys.exit(EXIT_NOT_MEASURED)


def tokenizer(model_dir):
    """The tokenizer of a model, truncating as sentence-transformers does: tokenizer.json has a limit of its own."""
    import json
    import pathlib

    from tokenizers import Tokenizer
    loaded = Tokenizer.from_file(f"{model_dir}/tokenizer.json")
    loaded.no_padding()
    settings = json.loads(pathlib.Path(model_dir, "sentence_bert_config.json").read_text())
    loaded.enable_truncation(max_length=settings["max_seq_length"])
    return loaded
