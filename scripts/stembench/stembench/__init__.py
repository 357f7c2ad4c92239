"""Causal attention by any method of stembench, on numpy arrays and on device tensors.

    import stembench
    o, lse = stembench.attend(q, k, v, "stem", "mu=0.7 block=64")

    plan = stembench.Plan(q, k, v, method="stem", params="mu=0.7 block=64")
    for q, k, v in layers:
        o, lse = plan(q, k, v)
        print(plan.stats().density)

q is [H, T, D] or [B, H, T, D]; k and v have Hkv heads (H is a multiple of it) and S >= T tokens:
queries are aligned to the end of the keys. Arrays of float32, float16 or bfloat16; numpy arrays of
uint16 are bfloat16. Anything with DLPack or __cuda_array_interface__ works, in place, on the CPU or
on the GPU that is current. Strides are followed; channels must be adjacent.

The library is looked for as $STEMBENCH_LIBRARY, as build/libstembench.so of the source tree that this
package lies in, then where the system has its libraries.
"""
from ._library import StembenchError, version
from ._plan import Plan, Stats, attend

__all__ = ["Plan", "Stats", "StembenchError", "attend", "version"]
