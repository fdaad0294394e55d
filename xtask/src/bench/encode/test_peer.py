#!/usr/bin/env python3
"""Tests of peer.py and common.py without numpy and without runtimes. `cargo test -p xtask` runs them.

    python3 xtask/src/bench/encode/test_peer.py
"""

import json
import pathlib
import sys
import tempfile
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import common
import peer


class Rows:
    """As much of a matrix as `Encoder.encode` uses: rows that are assigned by a list of indices."""

    def __init__(self, rows):
        self.rows = rows
        self.shape = (len(rows), 1)

    def __setitem__(self, indices, rows):
        for index, row in zip(indices, rows.rows, strict=True):
            self.rows[index] = row


NUMPY = types.SimpleNamespace(float32=None, empty=lambda shape, dtype: Rows([None] * shape[0]))


class Encoder(peer.Encoder):
    """The vector of a text is its token ids."""

    def __init__(self, streams, batch, by_length=True):
        super().__init__(NUMPY, None, streams, batch, by_length)
        self.batches = []

    def compute(self, rows):
        self.batches.append([len(row) for row in rows])
        return Rows([tuple(row) for row in rows])


# Lengths in no order, some of them equal.
TOKEN_IDS = [[text] * (1 + text * 7 % 11) for text in range(23)]


class TestEncoder(unittest.TestCase):
    def test_vectors_are_in_the_order_of_the_texts(self):
        for streams in (1, 2):
            for batch in (1, 4, 8, 23, 32):
                vectors = Encoder(streams, batch).encode(TOKEN_IDS)
                self.assertEqual(vectors.rows, [tuple(row) for row in TOKEN_IDS], (streams, batch))

    def test_an_untuned_peer_computes_batches_of_32_in_the_order_of_the_texts(self):
        runtime = types.SimpleNamespace(setting={"graph": "plain"})
        made = []
        encoder, setting, tried = peer.untuned_setting(NUMPY, lambda *how: made.append(how) or runtime, ("plain", "fused"), 2)
        self.assertEqual(made, [("plain", 1, 2)])
        self.assertEqual((setting["batch"], setting["streams"], setting["order"], tried), (32, 1, "given", []))
        self.assertEqual((encoder.batch, encoder.streams, encoder.by_length), (32, 1, False))
        encoder = Encoder(1, 4, by_length=False)
        encoder.encode(TOKEN_IDS)
        self.assertEqual(encoder.batches[0], [len(row) for row in TOKEN_IDS[:4]])

    def test_a_batch_has_texts_of_similar_length_so_that_padding_is_small(self):
        encoder = Encoder(1, 4)
        encoder.encode(TOKEN_IDS)
        lengths = [length for batch in encoder.batches for length in batch]
        self.assertEqual(lengths, sorted(lengths, reverse=True))
        self.assertEqual([len(batch) for batch in encoder.batches], [4, 4, 4, 4, 4, 3])


class TestTokenizer(unittest.TestCase):
    def test_texts_are_truncated_as_the_model_says_and_not_as_tokenizer_json_does(self):
        calls = []
        loaded = types.SimpleNamespace(
            no_padding=lambda: calls.append("no padding"),
            enable_truncation=lambda max_length: calls.append(max_length),
        )
        sys.modules["tokenizers"] = types.SimpleNamespace(Tokenizer=types.SimpleNamespace(from_file=lambda path: loaded))
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 77}))
            self.assertIs(common.tokenizer(folder), loaded)
        self.assertEqual(calls, ["no padding", 77])


class TestSettings(unittest.TestCase):
    def test_every_runtime_is_tried_with_one_stream_and_with_one_for_each_core_and_the_fastest_counts(self):
        seconds = {(1, 8): 4.0, (2, 8): 3.0, (2, 4): 2.0, (2, 16): 5.0, (2, 32): 6.0}
        tried, real = [], peer.Encoder

        class Timed(real):
            def encode(self, token_ids):
                tried.append((self.streams, self.batch))

        runtime = types.SimpleNamespace(setting={})
        peer.Encoder, clock = Timed, peer.seconds_of
        peer.seconds_of = lambda call: (call(), seconds[tried[-1]])[1]
        try:
            encoder, setting, attempts = peer.best_setting(NUMPY, lambda *_: runtime, ("plain",), 2, TOKEN_IDS)
        finally:
            peer.Encoder, peer.seconds_of = real, clock
        self.assertEqual((encoder.streams, encoder.batch), (2, 4))
        self.assertEqual((setting["streams"], setting["batch"], setting["seconds"]), (2, 4, 2.0))
        self.assertEqual(len(attempts), len(seconds))


if __name__ == "__main__":
    unittest.main()
