#!/usr/bin/env python3
"""Compiles the kernels to the PTX that is committed and embedded.

    python3 plaid/cuda/kernels/generate.py [-check]

Needs two PyPI packages in the environment: nvidia-cuda-nvrtc (any version from 12 on, the compiler library) and, to
verify the result, triton (which carries ptxas). Both also come with torch. No CUDA toolkit and no device.

The target is compute_80; newer devices compile the PTX when it is loaded. NVRTC writes the newest PTX version that it
knows, which older drivers refuse. The kernels use nothing beyond PTX ISA 7.0 (CUDA 11.0), so the header is set to that,
and ptxas assembles the result for several architectures, which fails if that is no longer true. It prints what each kernel
uses there; values that do not fit into registers, and so lie in local memory, are an error. The first line of
each file is the SHA-256 of the sources; a Go test compares it, so that source and PTX cannot drift apart. -check
compiles again and compares instead of writing: the text depends on the version of NVRTC, named in the second line.
"""
import ctypes, glob, hashlib, os, re, subprocess, sys, sysconfig, tempfile

headers = ["common.cuh", "tile.cuh"]
here = os.path.dirname(os.path.abspath(__file__))
site = sysconfig.get_paths()["purelib"]


def find(*patterns):
    for p in patterns:
        if hits := sorted(glob.glob(os.path.join(site, p))):
            return hits[-1]
    sys.exit(f"not found under {site}: {' or '.join(patterns)}")


def compile(nvrtc, source, options):
    text = open(os.path.join(here, source)).read().encode()
    prog = ctypes.c_void_p()
    contents = (ctypes.c_char_p * len(headers))(*[open(os.path.join(here, h), "rb").read() for h in headers])
    names = (ctypes.c_char_p * len(headers))(*[h.encode() for h in headers])
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(prog), text, source.encode(), len(headers), contents, names) == 0
    opts = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    code = nvrtc.nvrtcCompileProgram(prog, len(options), opts)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(prog, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(prog, log)
    if code:
        sys.exit(f"{source}:\n{log.value.decode()}")
    nvrtc.nvrtcGetPTXSize(prog, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(prog, ptx)
    return ptx.value.decode()


def main():
    library = find("nvidia/cu*/lib/libnvrtc.so.[0-9]*", "nvidia/cuda_nvrtc/lib/libnvrtc.so.[0-9]*")
    for builtins in glob.glob(os.path.join(os.path.dirname(library), "libnvrtc-builtins.so.*")):
        ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)  # it is looked for by name
    nvrtc = ctypes.CDLL(library)
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    faults = []
    ptxas = find("triton/backends/nvidia/bin/ptxas")
    for source in ["maxsim.cu", "plaid.cu", "build.cu"]:
        ptx = compile(nvrtc, source, ["--gpu-architecture=compute_80", "--std=c++17", "--fmad=false", "-default-device"])
        body = ptx[ptx.index(".version"):]
        body = re.sub(r"^\.version \d+\.\d+$", ".version 7.0", body, count=1, flags=re.M)
        body = re.sub(r"^\s*//.*\n", "", body, flags=re.M).rstrip() + "\n"
        digest = hashlib.sha256()
        for f in headers + [source]:
            digest.update(open(os.path.join(here, f), "rb").read())
        text = f"// sources: sha256 {digest.hexdigest()}\n// compiler: NVRTC {major.value}.{minor.value}\n{body}"
        with tempfile.NamedTemporaryFile("w", suffix=".ptx") as tmp:
            tmp.write(text)
            tmp.flush()
            for arch in ["sm_80", "sm_86", "sm_90"]:
                r = subprocess.run([ptxas, "-v", "-arch", arch, "-o", os.devnull, tmp.name], capture_output=True, text=True)
                if r.returncode:
                    sys.exit(f"{source} for {arch}: {r.stderr}")
                for entry, frame, use in re.findall(r"Compiling entry function '(\w+)'[\s\S]*?(\d+ bytes stack frame[^\n]*)\n[^\n]*?(Used [^\n]*)", r.stderr):
                    print(f"{arch} {entry}: {frame}; {use}")
                    if not frame.startswith("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"):
                        faults.append(f"{entry} for {arch} has {frame}")
        path = os.path.join(here, source.removesuffix(".cu") + ".ptx")
        if "-check" in sys.argv:
            if open(path).read() != text:
                sys.exit(f"{path} is not what the source compiles to with NVRTC {major.value}.{minor.value}")
        else:
            open(path, "w").write(text)
    if faults:
        sys.exit("registers do not suffice: " + "; ".join(faults))


main()
