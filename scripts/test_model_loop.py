"""The loop on a model of random weights: STEMBENCH_LIBRARY=../build/libstembench.so python3 -m unittest."""
import contextlib
import csv
import io
import os
import sys
import tempfile
import unittest

try:
    import gguf
    import numpy as np
    import model_loop
    import stem_capture
except ImportError as missing:
    raise unittest.SkipTest(f"{missing.name} is not installed")

LAYERS, HEADS, KV_HEADS, DIM, WIDTH, HIDDEN, TOKENS = 2, 4, 2, 16, 64, 96, 512
CONFIG = """
tokens: 512
dtype: f32
samples: 2
small: {tokens: 384, texts: 1, only: {setting: all}}
runs:
  - method: uniform
    params: {block: 32, k: [2, 1000], sinks: 1, window: 1}
    setting: [all, decode]
"""
PARTLY = """
tokens: 512
dtype: f32
runs:
  - {method: uniform, params: {block: 32, k: 2, sinks: 1, window: 1}, rows: [[0.5, 1]]}
  - {method: uniform, params: {block: 32, k: 2, sinks: 1, window: 1}, layers: [1], heads: [[0], [0, 1, 2, 3]]}
"""


def byte_names():
    """GPT-2's name of each byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xa1, 0xad), *range(0xae, 0x100)]
    moved = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) if byte in plain else chr(256 + moved.index(byte)) for byte in range(256)]


def write_model(path):
    """A llama of random weights whose tokens are bytes, and "th"."""
    writer, rng = gguf.GGUFWriter(path, "llama"), np.random.default_rng(1)
    writer.add_block_count(LAYERS)
    writer.add_context_length(TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*byte_names(), "th"])
    writer.add_token_merges(["t h"])

    def add(name, *shape):
        matrix = len(shape) > 1
        weight = rng.standard_normal(shape) * shape[-1] ** -0.5 if matrix else np.ones(shape)
        writer.add_tensor(f"{name}.weight", weight.astype(np.float32))
    add("token_embd", 257, WIDTH)
    add("output_norm", WIDTH)
    for i in range(LAYERS):
        for name, *shape in (
                ("attn_norm", WIDTH), ("attn_q", HEADS * DIM, WIDTH), ("attn_k", KV_HEADS * DIM, WIDTH),
                ("attn_v", KV_HEADS * DIM, WIDTH), ("attn_output", WIDTH, HEADS * DIM),
                ("ffn_norm", WIDTH), ("ffn_gate", HIDDEN, WIDTH), ("ffn_up", HIDDEN, WIDTH),
                ("ffn_down", WIDTH, HIDDEN)):
            add(f"blk.{i}.{name}", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Loop(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        write_model(os.path.join(cls.folder, "tiny.gguf"))
        with open(os.path.join(cls.folder, "text.txt"), "w", encoding="utf-8") as file:
            file.write("The thin thread held. Then it broke in three. " * 60)

    def loop(self, out, *options, config=CONFIG, texts=("text.txt:0", "text.txt:100")):
        """Exit code, standard error, rows of results.csv."""
        def at(name):
            return os.path.join(self.folder, name)
        with open(at("config.yaml"), "w", encoding="utf-8") as file:
            file.write(config)
        argv = ["model_loop.py", at("config.yaml"), "--model", at("tiny.gguf"), "--out", at(out), "--quiet", *options]
        argv += [word for text in texts for word in ("--text", at(text))]
        error, before = io.StringIO(), sys.argv
        sys.argv = argv
        try:
            with contextlib.redirect_stderr(error), self.assertRaises(SystemExit) as end:
                stem_capture.run_main(model_loop.main)
        finally:
            sys.argv = before
        return end.exception.code, error.getvalue(), self.rows(out)

    def rows(self, out, table="results.csv"):
        path = os.path.join(self.folder, out, table)
        if not os.path.exists(path):
            return []
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def test_keep_all_is_dense_and_less_is_not(self):
        code, error, rows = self.loop("rows")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual([row["cell"] for row in rows], [str(i) for i in range(12)])
        self.assertEqual({row["text"] for row in rows}, {"text.txt:0", "text.txt:100"})
        for row in rows:
            with self.subTest(row["params"], setting=row["setting"]):
                kl, mse, rel, density = (float(row[name]) for name in ("logit_kl", "logit_mse", "rel_l2", "density"))
                if row["method"] == "dense" or " k=1000" in f" {row['params']}":
                    self.assertEqual((density, row["top1"]), (1, "1"))
                    self.assertLess(max(abs(kl), mse, rel), 1e-5)
                else:
                    self.assertLess(density, 0.5)
                    self.assertGreater(min(kl, mse, rel), 1e-4)
                self.assertAlmostEqual(float(row["ppl"]), np.exp(-float(row["score"])), places=3)
        self.assertEqual([row["cell"] for row in self.rows("rows", "residual.csv")], [row["cell"] for row in rows])

    def test_only_where_asked(self):
        code, error, (dense, late, head, layer) = self.loop("partly", config=PARTLY, texts=["text.txt:0"])
        self.assertEqual((code, error), (0, ""))
        table = self.rows("partly", "positions.csv")
        kl = [[float(row[f"kl_{i}"]) for i in range(16)] for row in table]
        self.assertLess(max(kl[1][:8]), 1e-9)
        self.assertGreater(min(kl[1][8:]), 1e-4)
        residual = self.rows("partly", "residual.csv")
        first, second = ([float(row[name]) for row in residual] for name in ("layer_0", "layer_1"))
        self.assertEqual(first[2:], [0, 0])
        self.assertTrue(0 < second[2] < second[3], second)
        for row, where in ((dense, "all all 0-1"), (late, "all all 0.5-1"),
                           (head, "1 0 0-1"), (layer, "1 0,1,2,3 0-1")):
            self.assertEqual(f"{row['layer_set']} {row['head_set']} {row['row_range']}", where)
        share = (1 - float(head["density"])) / (1 - float(layer["density"]))
        self.assertAlmostEqual(share, 1 / 4, delta=0.05)

    def test_continues(self):
        self.loop("whole")
        tables = {}
        for name in ("results.csv", "residual.csv"):
            path = os.path.join(self.folder, "whole", name)
            with open(path, encoding="utf-8") as file:
                tables[path] = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(tables[path][:-9])  # as a kill leaves it
        code, error, rows = self.loop("whole")
        self.assertEqual((code, error, len(rows)), (0, "", 12))
        for path, text in tables.items():
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), text)

    def test_small(self):
        code, error, rows = self.loop("small", "--small")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual({(row["tokens"], row["text"], row["setting"]) for row in rows}, {("384", "text.txt:0", "all")})
        self.assertEqual(len(rows), 3)

    def refused(self, config, expected, **options):
        with self.subTest(expected):
            code, error, rows = self.loop(f"refused {expected}", config=config, **options)
            self.assertEqual(code, 2, error)
            self.assertRegex(error, r"^model_loop.py: error: [^\n]*\n$")
            self.assertIn(expected, error)
            return rows

    def test_refused_before_anything_is_run(self):
        for word, other, expected in (
                ("params:", "parms:", "unknown ['parms']"), ("samples:", "sampels:", "unknown ['sampels']"),
                ("only:", "olny:", "unknown ['olny']"), ("all, decode", "decoding", "setting decoding"),
                ("method: uniform", "setting: all", "no method"), ("tokens: 512", "tokens: 9999", "9999 are needed"),
                ("runs:", "runs: [", "line ")):
            self.assertIn(word, CONFIG)
            self.assertFalse(self.refused(CONFIG.replace(word, other), expected))
        self.assertFalse(self.refused(CONFIG, "expected FILE:OFFSET", texts=("text.txt",)))

    def test_refused_by_the_library(self):
        self.refused(CONFIG.replace("uniform", "unifrm"), "unifrm")
        self.refused(CONFIG.replace("sinks", "snks"), "snks")


if __name__ == "__main__":
    unittest.main()
