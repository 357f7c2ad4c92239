"""The package against attention written out in float64: python3 -m unittest, with numpy; with torch, its tensors too."""
import threading
import unittest

import numpy as np

import stembench
from stembench._arrays import view

try:
    import torch
except ImportError:
    torch = None


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference(q, k, v, stats=None):
    """[H, T, D], [Hkv, S, D], [Hkv, S, Dv] -> o, lse, over the pattern of `stats` where there is one."""
    h, t, d = q.shape
    s = k.shape[1]
    k, v = (np.repeat(x, h // x.shape[0], axis=0).astype(np.float64) for x in (k, v))
    scores = q.astype(np.float64) @ k.swapaxes(1, 2) / np.sqrt(d)
    keep = np.tri(t, s, s - t, bool)[None].repeat(h, 0)
    if stats is not None and stats.block:
        b, first = stats.block, (s - t) // stats.block
        kept = np.zeros_like(keep)
        rows = len(stats.row_ptr[:-1]) // h
        for head in range(h):
            for i in range(s - t, s):
                at = head * rows + i // b - first
                for j in stats.col[stats.row_ptr[at]:stats.row_ptr[at + 1]]:
                    kept[head, i - (s - t), j * b:(j + 1) * b] = True
        keep &= kept
    scores[~keep] = -np.inf
    top = scores.max(-1, keepdims=True)
    p = np.exp(scores - top)
    return p @ v / p.sum(-1, keepdims=True), np.log(p.sum(-1)) + top[..., 0]


class Arrays(unittest.TestCase):
    def setUp(self):
        self.q, self.k, self.v = noise(1, 4, 150, 16), noise(2, 2, 213, 16), noise(3, 2, 213, 24)

    def close(self, got, expected, tolerance=1e-5):
        np.testing.assert_allclose(np.asarray(got, np.float64), expected, atol=tolerance)

    def test_methods(self):
        for method, params in [("dense", ""), ("uniform", "block=32 k=2 sinks=1 window=1"),
                               ("stem", {"block": 16, "k_start": 3, "sinks": 1, "window": 1})]:
            plan = stembench.Plan(self.q, self.k, self.v, method=method, params=params)
            o, lse = plan(self.q, self.k, self.v)
            stats = plan.stats()
            expected = reference(self.q, self.k, self.v, stats)
            self.close(o, expected[0])
            self.close(lse, expected[1])
            self.assertTrue(plan.kernel)
            self.assertEqual(stats.density == 1, method == "dense")

    def test_params(self):
        arrays = self.q, self.k, self.v
        self.assertEqual(stembench.Plan(*arrays).params, "")
        self.assertEqual(stembench.Plan(*arrays, "uniform", {"block": 32, "k": 0.25}).params,
                         "block=32 stride=8 score=antidiagonal k=0.25 schedule.total=none sinks=4 window=4 "
                         "dense_layers=0")
        given = "schedule.shape=table schedule.table=[3 2.5 0.2]"
        plan = stembench.Plan(*arrays, "stem", "variant=hpc " + given)
        self.assertIn("stride=16", plan.params)
        self.assertIn(given.split(" ", 1)[1], plan.params)
        self.assertEqual(stembench.Plan(*arrays, "stem", plan.params).params, plan.params)

    def test_strides_and_batch(self):
        q, k, v = (np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1) for x in (self.q, self.k, self.v))
        self.assertFalse(q.flags.c_contiguous)
        out = np.full((150, 4, 30), np.nan, np.float32)
        into = out[:, :, :24].swapaxes(0, 1)
        stembench.Plan(q, k, v, out=into)(q, k, v, out=into)
        self.close(into, reference(self.q, self.k, self.v)[0])
        self.assertTrue(np.isnan(out[:, :, 24:]).all())
        two = [np.stack([x, -x]) for x in (self.q, self.k, self.v)]
        o, _ = stembench.attend(*two)
        self.close(o[1], reference(-self.q, -self.k, -self.v)[0])

    def test_half_precision(self):
        halves = [x.astype(np.float16) for x in (self.q, self.k, self.v)]
        o, _ = stembench.attend(*halves)
        self.assertEqual(o.dtype, np.float16)
        self.close(o, reference(*halves)[0], 2e-3)
        bits = [(x.view(np.uint32) >> 16).astype(np.uint16) for x in (self.q, self.k, self.v)]
        wide = [(x.astype(np.uint32) << 16).view(np.float32) for x in bits]
        o, _ = stembench.attend(*bits)
        self.close((o.astype(np.uint32) << 16).view(np.float32), reference(*wide)[0], 2e-2)

    def test_refusals(self):
        def expect(error, part, *arguments, **options):
            with self.assertRaisesRegex(error, part):
                stembench.attend(*arguments, **options)
        q, k, v = self.q, self.k, self.v
        expect(stembench.StembenchError, r"mu is 9", q, k, v, "stem", "mu=9")
        expect(stembench.StembenchError, "no method", q, k, v, "denser")
        expect(TypeError, "float64", q.astype(np.float64), k, v)
        expect(TypeError, "list", [1], k, v)
        expect(TypeError, "differ", q.astype(np.float16), k, v)
        expect(ValueError, "expected", q, k[:, :100], v)
        expect(ValueError, "adjacent", q[..., ::2], k[..., ::2], v)
        expect(ValueError, "dimensions", q[0], k, v)
        plan = stembench.Plan(q, k, v)
        with self.assertRaisesRegex(ValueError, "the plan is for"):
            plan(q[:, :100], k, v)
        with self.assertRaisesRegex(stembench.StembenchError, "no run"):
            plan.stats()

    def test_threads(self):
        results = [None] * 4

        def work(i):
            results[i] = [stembench.attend(self.q, self.k, self.v, "stem", "block=32 k_start=2")[0]
                          for _ in range(10)]
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in results:
            for o in result:
                np.testing.assert_array_equal(o, results[0][0])


class CudaInterface:
    """A numpy array that says of itself what a device array would."""

    def __init__(self, x):
        self.__cuda_array_interface__ = dict(x.__array_interface__)


class Foreign(unittest.TestCase):
    def test_cuda_array_interface(self):
        x = noise(1, 4, 150, 16)
        for y in (x, x[:, ::2]):
            got = view(CudaInterface(y))
            self.assertEqual((got.pointer, got.shape, got.strides, got.dtype, got.backend),
                             (y.ctypes.data, y.shape, tuple(s // 4 for s in y.strides), 0, 1))

    @unittest.skipUnless(torch, "needs torch")
    def test_torch(self):
        for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
            for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)):
                if device == "cuda" and dtype == torch.float32:
                    continue
                q, k, v = (torch.from_numpy(noise(i, h, 256, 64)).to(device, dtype)
                           for i, h in ((1, 4), (2, 2), (3, 2)))
                o, lse = stembench.attend(q, k, v, "stem", "block=64 k_start=4")
                self.assertEqual((o.dtype, o.device), (q.dtype, q.device))
                expected = reference(*(x.float().cpu().numpy() for x in (q, k, v)))
                np.testing.assert_allclose(o.float().cpu(), expected[0], atol=tolerance)
                np.testing.assert_allclose(lse.cpu(), expected[1], atol=tolerance)


if __name__ == "__main__":
    unittest.main()
