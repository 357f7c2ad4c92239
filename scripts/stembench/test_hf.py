"""transformers' models with attn_implementation="stembench" against sdpa: small random weights."""
import unittest

try:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

    import stembench.hf
except ImportError as error:
    raise unittest.SkipTest(str(error))

SHAPES = {
    "Llama": lambda: LlamaConfig(hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
                                 num_key_value_heads=2, vocab_size=500, max_position_embeddings=2048),
    "SmolLM2": lambda: LlamaConfig(hidden_size=576, intermediate_size=512, num_hidden_layers=2, num_attention_heads=9,
                                   num_key_value_heads=3, vocab_size=500, rope_theta=100000.0,
                                   max_position_embeddings=8192, tie_word_embeddings=True),
    "Qwen3": lambda: Qwen3Config(hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
                                 num_key_value_heads=2, head_dim=128, vocab_size=500, max_position_embeddings=2048),
}
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def make(name, device="cpu", dtype=torch.bfloat16):
    torch.manual_seed(0)
    config = SHAPES[name]()
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(device, dtype).eval()


def tokens(n, batch=1, device="cpu"):
    return torch.randint(0, 500, (batch, n), generator=torch.Generator().manual_seed(1)).to(device)


@torch.inference_mode()
def logits(model, ids, implementation, **options):
    model.set_attn_implementation(implementation)
    return model(ids, **options).logits.float()


class Models(unittest.TestCase):
    def test_keep_all_is_sdpa(self):
        for device in DEVICES:
            for name in SHAPES:
                model, ids = make(name, device), tokens(300, 2, device)
                expected = logits(model, ids, "sdpa")
                for method, params in (("dense", ""), ("uniform", "block=64 k=64")):
                    stembench.hf.configure(model, method, params)
                    error = (logits(model, ids, "stembench") - expected).norm() / expected.norm()
                    self.assertLess(error, 0.01, f"{name} {method} on {device}")

    def test_sparse_differs_and_reports(self):
        model, ids = make("SmolLM2"), tokens(640)
        expected = logits(model, ids, "sdpa")
        stembench.hf.configure(model, "uniform", "block=64 k=1 sinks=0 window=1", layers={0: ("dense", "")})
        got = logits(model, ids, "stembench")
        self.assertGreater((got - expected).norm() / expected.norm(), 0.02)
        stats = stembench.hf.stats(model)
        self.assertEqual([stats[0].density == 1, stats[1].density < .5], [True, True])
        torch.testing.assert_close(got[:, :64], expected[:, :64], atol=0.05, rtol=0.05)

    def test_generate(self):
        model, ids = make("Llama", dtype=torch.float32), tokens(100)
        options = dict(max_new_tokens=8, do_sample=False, pad_token_id=0)
        model.set_attn_implementation("sdpa")
        expected = model.generate(ids, **options)
        model.set_attn_implementation("stembench")
        stembench.hf.configure(model, "dense")
        self.assertTrue(torch.equal(model.generate(ids, **options), expected))

    @torch.inference_mode()
    def test_chunked_prefill(self):
        model, ids = make("Llama", dtype=torch.float32), tokens(200)
        expected = logits(model, ids, "sdpa")
        model.set_attn_implementation("stembench")
        first = model(ids[:, :128], use_cache=True)
        rest = model(ids[:, 128:], past_key_values=first.past_key_values)
        torch.testing.assert_close(rest.logits, expected[:, 128:], atol=1e-4, rtol=1e-4)

    def test_refusals(self):
        model, ids = make("Llama"), tokens(100, 2)
        mask = torch.ones_like(ids)
        mask[0, :10] = 0
        with self.assertRaisesRegex(NotImplementedError, "causal"):
            logits(model, ids, "stembench", attention_mask=mask)
        with self.assertRaisesRegex(NotImplementedError, "forward"):
            model(ids)
        with self.assertRaisesRegex(ValueError, "layers 9"):
            stembench.hf.configure(model, layers={9: ("dense", "")})
        stembench.hf.configure(model, "stem", "mu=9")
        with self.assertRaisesRegex(stembench.StembenchError, "mu is 9"):
            logits(model, ids, "stembench")


if __name__ == "__main__":
    unittest.main()
