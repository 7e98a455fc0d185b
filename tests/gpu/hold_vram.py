"""A program that holds video memory through CUDA until its standard input ends: ``hold_vram.py MIB``.

Prints one line of JSON: ``{"uuid": ...}`` once the memory is held, or ``{"skip": reason}``.
"""

import ctypes
import json
import sys
import uuid


class CudaFailed(Exception):
    pass


def check(call: str, code: int) -> None:
    if code:
        raise CudaFailed(f"{call} returned CUDA error {code}")


def hold(size_mib: int) -> str:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CudaFailed(f"no CUDA driver library: {error}") from None
    device = ctypes.c_int()
    context = ctypes.c_void_p()
    pointer = ctypes.c_uint64()
    name = (ctypes.c_ubyte * 16)()
    check("cuInit", cuda.cuInit(0))
    check("cuDeviceGet", cuda.cuDeviceGet(ctypes.byref(device), 0))
    check("cuDeviceGetUuid", cuda.cuDeviceGetUuid(ctypes.byref(name), device))
    check("cuDevicePrimaryCtxRetain", cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
    check("cuCtxSetCurrent", cuda.cuCtxSetCurrent(context))
    size_bytes = size_mib * 1024 * 1024
    check("cuMemAlloc", cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size_bytes)))
    check("cuMemsetD8", cuda.cuMemsetD8_v2(pointer, ctypes.c_ubyte(1), ctypes.c_size_t(size_bytes)))
    check("cuCtxSynchronize", cuda.cuCtxSynchronize())
    return f"GPU-{uuid.UUID(bytes=bytes(name))}"


def main() -> None:
    try:
        answer = {"uuid": hold(int(sys.argv[1]))}
    except CudaFailed as error:
        answer = {"skip": str(error)}
    print(json.dumps(answer), flush=True)  # noqa: T201 - its answer to the test that started it
    if "uuid" in answer:
        sys.stdin.read()


if __name__ == "__main__":
    main()
