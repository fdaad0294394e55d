#!/bin/sh
# Writes the list of digests (files.sha256) for the verification of a source tree.
#
#   sh list-files.sh PRISTINE-TREE > files.sha256
#
# Only the files that `make libs` reads for x86_64 and arm64 with NO_LAPACK, NOFORTRAN and NO_SHARED. Omitted: LAPACK, tests,
# benchmarks, documents, cmake, the Fortran interface tests and the kernels of other processors. Files that are not listed are
# not in the built tree, so a list that is too short fails immediately: the build stops at a missing file.
# ctest2.c is omitted on purpose: c_check links it to write the linker's search paths into Makefile.conf; they belong to this
# machine, and a static archive does not use them.
# Run it for a new version, on a tree that you compared with the upstream tag, and read the diff.
set -eu
export LC_ALL=C
cd "${1:?usage: list-files.sh PRISTINE-TREE}"

other_processors='alpha|arm|csky|e2k|ia64|loongarch64|mips|mips64|power|riscv64|sparc|wasm|x86|zarch'
{
  find . -maxdepth 1 -type f \( \
    -name Makefile -o -name Makefile.system -o -name Makefile.rule -o -name Makefile.tail -o -name Makefile.prebuild \
    -o -name Makefile.x86_64 -o -name Makefile.arm64 -o -name Makefile.generic \
    -o -name c_check -o -name f_check -o -name '*.h' -o -name cpuid.S -o -name cpuid_x86.c -o -name cpuid_arm64.c \
    -o -name ctest.c -o -name ctest1.c -o -name getarch.c -o -name getarch_2nd.c -o -name LICENSE \) |
    grep -Ev "/common_($other_processors)\.h\$|/cpuid_(zarch)\.h\$"
  find driver/level2 driver/level3 driver/others interface kernel/arm kernel/arm64 kernel/generic kernel/simd kernel/x86_64 \
    -type f ! -name CMakeLists.txt ! -path 'interface/lapack/*' ! -path 'interface/netlib/*' \
    ! -name 'dynamic_[lmprz]*.c' ! -name 'detect_riscv64.c' ! -name 'blas_server_win32.c'
  find kernel -maxdepth 1 -type f ! -name CMakeLists.txt
} | sed 's|^\./||' | sort | xargs sha256sum
