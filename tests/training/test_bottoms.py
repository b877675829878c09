"""A student's bottom: copied, narrowed in closed form, trained, its features kept."""

import numpy as np
import pytest
import torch
from helpers import distillation_config, loaded_clip, tiny_config, tiny_model
from torch import Tensor

from dtalk.checkpoint import save_model
from dtalk.errors import CheckpointError, DtalkError
from dtalk.model import DiffusionTalker
from dtalk.speech.bottom import Block, WhisperBottom
from dtalk.speech.encoders import CompressedEncoder
from dtalk.training.bottoms import chosen, copy_bottom, keep_features, load_encoder, take_bottom
from dtalk.training.optimizer import Optimizers, make_optimizer

WIDTH = 64


def random_bottom(depth: int = 2, **sizes) -> WhisperBottom:
    torch.manual_seed(depth)
    return WhisperBottom(WIDTH, depth, **sizes).requires_grad_(False)


def first_linear(bottom: WhisperBottom, block: int = 0) -> torch.nn.Linear:
    found = bottom.blocks[block]
    assert isinstance(found, Block)
    return found.inner


def clips(count: int = 12):
    return [loaded_clip(f"c{number}", 40, number) for number in range(count)]


def narrowed(source: WhisperBottom, **sizes) -> WhisperBottom:
    bottom = random_bottom(len(source.blocks), at_face_rate=source.rate == 30, **sizes)
    take_bottom(bottom, source, clips())
    return bottom


def features(bottom: WhisperBottom) -> Tensor:
    return bottom(torch.from_numpy(clips()[0].waveform)[None])[0]


def test_by_hand_those_are_chosen_that_add_to_what_is_known():
    """Inputs a, b, a + 0.1 c of unit a, b, c; outputs 3 a and b: a says more than the third, which
    beside a says nothing of b."""
    inputs = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0.1]])
    outputs = torch.tensor([[3.0, 0], [0, 1.0], [0, 0]])
    gram, cross = inputs @ inputs.T, inputs @ outputs
    assert chosen(gram, cross, 1).tolist() == [0]
    assert chosen(gram, cross, 2).tolist() == [0, 1]
    assert chosen(gram, cross, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("at_face_rate", [False, True])
def test_a_block_that_says_all_twice_loses_nothing(at_face_rate):
    """Half of the channels repeat the others: without them the same comes out."""
    bottom = random_bottom(at_face_rate=at_face_rate)
    half = 2 * WIDTH
    for block in bottom.blocks:
        assert isinstance(block, Block)
        block.inner.weight[half:] = block.inner.weight[:half]
        block.inner.bias[half:] = block.inner.bias[:half]
    found = narrowed(bottom, inner=half)
    assert found.rate == bottom.rate
    wanted = features(bottom)
    error = (features(found) - wanted).square().mean() / wanted.var(0).mean()
    assert error < 2e-3  # of ridge
    assert first_linear(found, 1).weight.shape == (half, WIDTH)
    assert torch.equal(found.first.weight, bottom.first.weight)


def test_a_stem_that_says_all_twice_loses_nothing():
    bottom, half = random_bottom(1), WIDTH // 2
    bottom.first.weight[half:] = bottom.first.weight[:half]
    assert bottom.first.bias is not None
    bottom.first.bias[half:] = bottom.first.bias[:half]
    found, wanted = narrowed(bottom, stem=half), features(bottom)
    assert (features(found) - wanted).square().mean() / wanted.var(0).mean() < 2e-3
    assert found.second.weight.shape == (WIDTH, half, 3)
    assert torch.equal(found.blocks[0].get_parameter("inner.weight"), first_linear(bottom).weight)


def test_blocks_make_good_what_a_stem_has_lost():
    """They are fitted to what the whole stem led to."""
    bottom, sizes = random_bottom(1), {"stem": 4, "inner": 2 * WIDTH}
    both = narrowed(bottom, **sizes)
    apart = narrowed(bottom, stem=4)
    blind = random_bottom(1, **sizes)
    blind.load_state_dict(both.state_dict())
    alone = narrowed(bottom, inner=2 * WIDTH)
    blind.blocks.load_state_dict(alone.blocks.state_dict())
    wanted = features(bottom)
    errors = [(features(each) - wanted).square().mean() for each in (both, blind, apart)]
    assert errors[0] < errors[1]
    assert errors[2] > 0


def test_what_is_kept_is_fitted_to_what_is_lost():
    """Much nearer than the same channels with their own weights, in the second block too."""
    bottom, inner = random_bottom(), WIDTH
    found, cut = narrowed(bottom, inner=inner), random_bottom(inner=inner)
    cut.load_state_dict(found.state_dict())
    for whole, small in zip(bottom.blocks, cut.blocks):
        assert isinstance(whole, Block)
        assert isinstance(small, Block)
        rows = [int((whole.inner.weight - row).abs().sum(1).argmin()) for row in small.inner.weight]
        small.outer.weight.copy_(whole.outer.weight[:, rows])
        small.outer.bias.copy_(whole.outer.bias)
    wanted = features(bottom)
    fitted, kept = ((features(each) - wanted).square().mean() for each in (found, cut))
    assert fitted < 0.5 * kept


def compressed(tmp_path, **changes):
    """A student's encoder, its configuration, and the bottom of a large encoder."""
    sizes: dict[str, int | None] = {"bottom_width": WIDTH, "encoder_depth": 1}
    asked = {"front_end": "whisper", "encoder_depth": 1, **changes}
    config = distillation_config(tmp_path, tmp_path, tmp_path / "t", cache=tmp_path / "c", **asked)
    sizes |= {"block_width": config.block_width, "stem_width": config.stem_width}
    student = DiffusionTalker(tiny_config(encoder="whisper", **sizes))
    encoder = student.eval().encoder
    assert isinstance(encoder, CompressedEncoder)
    return student, encoder, config


class Large:
    """A teacher whose large encoder has this bottom."""

    name = "the ear"

    def __init__(self, bottom: WhisperBottom) -> None:
        self.large_encoder, self._bottom = self, bottom

    def bottom(self, depth: int) -> WhisperBottom:
        assert depth == len(self._bottom.blocks)
        return self._bottom


def test_a_bottom_needs_a_large_encoder(tmp_path):
    _, encoder, config = compressed(tmp_path)
    with pytest.raises(CheckpointError, match="front end whisper wants a teacher with a large"):
        copy_bottom(encoder, tiny_model(), config, [])


def test_a_bottom_of_another_size_is_refused(tmp_path):
    _, encoder, config = compressed(tmp_path)
    other = Large(WhisperBottom(2 * WIDTH, 1))
    with pytest.raises(CheckpointError, match="the ear is not the kind of encoder that front end"):
        copy_bottom(encoder, other, config, [])  # type: ignore[arg-type]


@pytest.mark.parametrize(("width", "kept"), [(None, 4 * WIDTH), (48, 48)])
def test_a_bottom_is_copied_or_narrowed(width, kept, tmp_path):
    _, encoder, config = compressed(tmp_path, block_width=width)
    bottom = random_bottom(1)
    copy_bottom(encoder, Large(bottom), config, clips())  # type: ignore[arg-type]
    assert isinstance(encoder.bottom, WhisperBottom)
    found, copied = first_linear(encoder.bottom), first_linear(bottom)
    assert found.weight.shape == (kept, WIDTH)
    assert torch.equal(found.bias, copied.bias) is (width is None)


def test_a_students_encoder_is_narrowed_when_it_is_taken(tmp_path):
    wide, encoder, _ = compressed(tmp_path)
    save_model(wide, tmp_path / "wide.safetensors")
    student, found, _ = compressed(tmp_path, stem_width=8, block_width=16)
    load_encoder(student, tmp_path / "wide.safetensors", clips())
    assert torch.equal(found.linear.weight, encoder.linear.weight)
    assert torch.equal(
        found.bottom.get_parameter("blocks.0.query.weight"),
        encoder.bottom.get_parameter("blocks.0.query.weight"),
    )
    assert isinstance(found.bottom, WhisperBottom)
    assert first_linear(found.bottom).weight.shape == (16, WIDTH)
    save_model(student, tmp_path / "narrow.safetensors")
    with pytest.raises(CheckpointError, match=r"narrow\.safetensors has another size"):
        load_encoder(wide, tmp_path / "narrow.safetensors", clips())


def encoded(encoder: CompressedEncoder, sounds: list[np.ndarray]) -> Tensor:
    lengths = torch.tensor([round(len(sound) / 16000 * 30) for sound in sounds])
    with torch.no_grad():
        return encoder([encoder.prepare(torch.from_numpy(sound)) for sound in sounds], lengths)


@pytest.mark.parametrize("at_face_rate", [False, True])
def test_blocks_that_are_trained_give_what_they_gave(at_face_rate, tmp_path):
    """In a batch too, where a shorter clip is padded."""
    _, encoder, config = compressed(tmp_path)
    encoder.bottom = random_bottom(1, at_face_rate=at_face_rate)
    sounds = [clips()[0].waveform, clips()[1].waveform[:9000]]
    wanted = [encoded(encoder, [sound])[0] for sound in sounds]
    encoder.train_blocks()
    for _ in range(2):  # with and without a cache, which keeps 16 bits
        found = encoded(encoder, sounds)
        for one, other in zip(wanted, found):
            torch.testing.assert_close(other[: len(one)], one, atol=5e-3, rtol=0)
        keep_features(encoder, config)


def test_only_the_blocks_of_a_bottom_are_trained(tmp_path):
    _, encoder, _ = compressed(tmp_path)
    encoder.train_blocks()
    found = {name for name, weight in encoder.bottom.named_parameters() if weight.requires_grad}
    assert found == {n for n, _ in encoder.bottom.named_parameters() if n.startswith("blocks.")}
    sound = torch.from_numpy(clips()[0].waveform)
    encoder([encoder.prepare(sound)], torch.tensor([40])).square().sum().backward()
    for weight in encoder.bottom.blocks.parameters():
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0


def test_a_copy_of_a_model_whose_blocks_are_trained_hears_with_them(tmp_path):
    """Not with a cache of what the stem gives, nor of what the blocks gave once."""
    student, encoder, config = compressed(tmp_path)
    sound = clips()[0].waveform
    encoder.train_blocks()
    keep_features(encoder, config)
    encoder.prepare(torch.from_numpy(sound))
    encoder.bottom.blocks[0].outer.bias.data.add_(torch.randn(WIDTH))
    copy = student.new_like().eval()
    copy.load_state_dict(student.state_dict())
    assert isinstance(copy.encoder, CompressedEncoder)
    wanted = encoded(encoder, [sound])
    torch.testing.assert_close(encoded(copy.encoder, [sound]), wanted, atol=5e-3, rtol=0)
    keep_features(copy.encoder, config)
    torch.testing.assert_close(encoded(copy.encoder, [sound]), wanted, atol=5e-3, rtol=0)


def test_a_bottom_without_blocks_has_none_to_train():
    student = DiffusionTalker(tiny_config(encoder="whisper", encoder_depth=0, bottom_width=WIDTH))
    assert isinstance(student.encoder, CompressedEncoder)
    with pytest.raises(CheckpointError, match="only the transformer blocks of a whisper front end"):
        student.encoder.train_blocks()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_blocks_have_a_share_of_the_learning_rate(optimizer, tmp_path):
    student, encoder, config = compressed(tmp_path, block_rate=0.25, optimizer=optimizer)
    encoder.train_blocks()
    trained = [weight for weight in student.parameters() if weight.requires_grad]
    made = make_optimizer(student, trained, config)
    assert isinstance(made, Optimizers) is (optimizer == "muon")
    share = {id(w): group["share"] for group in made.param_groups for w in group["params"]}
    assert share.keys() == {id(weight) for weight in trained}
    blocks = {id(weight) for weight in encoder.bottom.blocks.parameters()}
    assert {share[i] for i in blocks} == {0.25}
    assert {share[i] for i in share.keys() - blocks} == {1.0}


@pytest.mark.parametrize("asked", [{"block_rate": 0.1}, {"block_width": 8}, {"stem_width": 8}])
def test_other_front_ends_have_no_blocks(asked, tmp_path):
    with pytest.raises(DtalkError, match="are for --front-end whisper"):
        distillation_config(tmp_path, tmp_path, tmp_path / "t", front_end="mel", **asked)
