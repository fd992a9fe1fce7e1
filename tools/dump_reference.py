#!/usr/bin/env python3
"""Writes what `tiller verify` compares with: a PyTorch module's inputs and outputs, as PyTorch has
them (NCHW, f32).

As a library, for any module of yours with guided-diffusion's names:

    from dump_reference import dump
    dump(model, "R.npz", x, t, y=y)                            # x, t, y, out
    dump(classifier, "C.npz", x, t, y=y, classifier=True)      # x, t, y, logits, grad
    dump(model, "R.npz", x, t, activations="A.npz")            # and every block's output

As a command, for a checkpoint of OpenAI's guided-diffusion. The package is imported from a folder
of yours; the flags are OpenAI's:

    tools/dump_reference.py --guided_diffusion ~/guided-diffusion --model_path 64x64_diffusion.pt \\
        --image_size 64 --num_channels 192 ... --output R.npz --activations A.npz
    tiller verify --model_path 64x64_diffusion.pt --reference R.npz --activations A.npz

Needs PyTorch (1.7 or newer) and numpy. Exit status: 0 done, 1 failed, 2 usage."""
import argparse
import contextlib
import os
import re
import sys
import tempfile

import numpy as np
import torch

# The modules whose outputs guided-diffusion and Tiller both have, by their paths.
BLOCKS = re.compile(r"time_embed|out|middle_block(\.\d+)?|(input|output)_blocks\.\d+(\.\d+)?")


class Usage(Exception):
    """A command line, or arguments, that cannot be meant."""


def dump(module, path, x, t, y=None, low_res=None, classifier=False, activations=None):
    """Runs `module` once, in evaluation mode, and writes path (.npz).

    x [N,C,H,W] float, t [N] integers or floats, as the network sees them; y [N] integers for a
    class-conditional network, and for every classifier; low_res [N,C,h,w] for super-resolution.
    A UNet's file holds `out`, a classifier's `logits` and `grad`: d sum(log p(y | x)) / dx.
    activations: a second .npz, for every block's output by its path. Returns what was written to
    `path`, as a dict of numpy arrays. Throws Usage for inputs that do not belong together."""
    inputs = check_inputs(x, t, y, low_res, classifier)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    arguments = {k: v.to(device) for k, v in inputs.items() if k in ("y", "low_res")}
    with evaluation(module), recorded(module, activations is not None) as outputs:
        if classifier:
            del arguments["y"]  # a classifier is not told the answer
            result = run_classifier(module, inputs["x"].to(device), inputs["t"].to(device),
                                    inputs["y"].to(device), arguments)
        else:
            with torch.no_grad():
                out = module(inputs["x"].to(device), inputs["t"].to(device), **arguments)
            result = {"out": out}
    arrays = {name: to_numpy(value) for name, value in {**inputs, **result}.items()}
    save(path, arrays)
    if activations is not None:
        if not outputs:
            raise Usage("no submodule is named as guided-diffusion's are (input_blocks.0, "
                        "middle_block, out, ...): there are no activations to write")
        save(activations, outputs)
    return arrays


def check_inputs(x, t, y, low_res, classifier):
    """The inputs as tensors of the dtypes that the file has, in its order."""
    inputs = {"x": torch.as_tensor(x).float(), "t": torch.as_tensor(t)}
    count = inputs["x"].shape[0]
    if inputs["x"].dim() != 4:
        raise Usage(f"x must be [N,C,H,W], not {list(inputs['x'].shape)}")
    if inputs["t"].dtype.is_floating_point:
        inputs["t"] = inputs["t"].float()
    else:
        inputs["t"] = inputs["t"].long()
    if y is not None:
        inputs["y"] = torch.as_tensor(y).long()
    elif classifier:
        raise Usage("a classifier needs y: the gradient is of log p(y | x)")
    for name in ("t", "y"):
        if name in inputs and list(inputs[name].shape) != [count]:
            raise Usage(f"{name} must be [{count}], one per picture, "
                        f"not {list(inputs[name].shape)}")
    if low_res is not None:
        inputs["low_res"] = torch.as_tensor(low_res).float()
        if inputs["low_res"].dim() != 4 or inputs["low_res"].shape[0] != count:
            raise Usage(f"low_res must be [{count},C,h,w], not {list(inputs['low_res'].shape)}")
    return inputs


def run_classifier(module, x, t, y, arguments):
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = module(x, t, **arguments)
        log_p = torch.log_softmax(logits.float(), dim=-1)
        (grad,) = torch.autograd.grad(log_p[range(len(y)), y].sum(), x)
    return {"logits": logits, "grad": grad}


@contextlib.contextmanager
def evaluation(module):
    """Without dropout; afterwards every submodule is in the mode in which it was."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training


@contextlib.contextmanager
def recorded(module, wanted):
    """Gathers every block's first output: a checkpointed block runs again in the backward."""
    outputs, hooks = {}, []

    def keeper(name):
        def keep(_module, _inputs, output):
            if torch.is_tensor(output) and name not in outputs:
                outputs[name] = to_numpy(output)
        return keep

    for name, submodule in module.named_modules():
        name = name[len("module."):] if name.startswith("module.") else name
        if wanted and BLOCKS.fullmatch(name):
            hooks.append(submodule.register_forward_hook(keeper(name)))
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def to_numpy(tensor):
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype.is_floating_point else tensor).contiguous().numpy()


def save(path, arrays):
    """Nothing stands at `path` until everything is written."""
    folder = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(suffix=".npz", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


# The command.

def script_util(folder):
    """guided_diffusion.script_util of the copy that the user named."""
    if not os.path.isfile(os.path.join(folder, "guided_diffusion", "script_util.py")):
        raise Usage(f"--guided_diffusion {folder}: there is no guided_diffusion/script_util.py "
                    "below it; name the folder into which you cloned OpenAI's guided-diffusion")
    sys.path.insert(0, os.path.abspath(folder))
    from guided_diffusion import script_util as module
    return module


def parse_bool(text):
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError("expected True or False")


def network_flags(util, words):
    """All of OpenAI's flags, with OpenAI's defaults; the last of a repeated flag counts. A pasted
    command line may hold the flags of a UNet and of its classifier together."""
    defaults = {**util.sr_model_and_diffusion_defaults(), **util.classifier_defaults(),
                **util.model_and_diffusion_defaults()}
    parser = argparse.ArgumentParser(prog="dump_reference.py", allow_abbrev=False, add_help=False,
                                     usage="dump_reference.py ... [OpenAI's flags]")
    for name, default in defaults.items():
        parser.add_argument("--" + name, default=default,
                            type=parse_bool if isinstance(default, bool) else type(default))
    return vars(parser.parse_args(words))


def make_network(util, options, words):
    """The network that the flags describe, and the sides of its pictures and low_res pictures."""
    flags = network_flags(util, words)

    def of(names):
        return {name: flags[name] for name in names}

    if options.num_classes:
        util.NUM_CLASSES = options.num_classes
    if options.classifier_path:
        network = util.create_classifier(**of(util.classifier_defaults()))
    elif any(word.startswith(("--large_size", "--small_size")) for word in words):
        network, _ = util.sr_create_model_and_diffusion(
            **of(util.sr_model_and_diffusion_defaults()))
        return network, flags["large_size"], flags["small_size"]
    else:
        network, _ = util.create_model_and_diffusion(**of(util.model_and_diffusion_defaults()))
    return network, flags["image_size"], None


def load_weights(network, path):
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except TypeError:  # before PyTorch 1.13
        weights = torch.load(path, map_location="cpu")
    for wrapper in ("model", "state_dict"):
        if isinstance(weights.get(wrapper), dict):
            weights = weights[wrapper]
    theirs, ours = network.state_dict(), weights
    differ = sorted(theirs.keys() ^ ours.keys()) + [
        key for key in theirs if key in ours and theirs[key].shape != ours[key].shape]
    if differ:
        raise Usage(f"{path} does not fit the network of these flags: {len(differ)} names or "
                    f"shapes differ, first {differ[0]} (`tiller inspect {path}` prints the flags)")
    network.load_state_dict(weights)
    return network


def make_inputs(network, options, size, small_size):
    """Normal pictures, timesteps spread over the whole range, and classes, all from the seed."""
    count = options.batch_size
    steps = options.timesteps or [int((i + 0.5) * 1000 / count) for i in range(count)]
    if len(steps) != count:
        raise Usage(f"--timesteps has {len(steps)} values for --batch_size {count}")
    whole = all(float(step).is_integer() for step in steps)
    generator = torch.Generator().manual_seed(options.seed)
    # A super-resolution network sees the low-resolution picture as channels of its own.
    channels = network.in_channels if small_size is None else network.in_channels // 2
    inputs = {"x": torch.randn(count, channels, size, size, generator=generator),
              "t": torch.tensor([int(step) if whole else step for step in steps])}
    if small_size is not None:
        inputs["low_res"] = torch.randn(count, channels, small_size, small_size,
                                        generator=generator)
    classes = network.out_channels if options.classifier_path else network.num_classes
    if classes is not None:
        inputs["y"] = torch.randint(0, classes, (count,), generator=generator)
    return inputs


def parse_command_line(words):
    parser = argparse.ArgumentParser(prog="dump_reference.py", allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description=__doc__,
                                     epilog="All other flags are OpenAI's, as in their scripts.")
    parser.add_argument("--guided_diffusion", required=True, metavar="FOLDER",
                        help="your copy of OpenAI's repository")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model_path", metavar="FILE.pt")
    which.add_argument("--classifier_path", metavar="FILE.pt")
    parser.add_argument("--output", required=True, metavar="R.npz")
    parser.add_argument("--activations", metavar="A.npz", help="also every block's output")
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timesteps", type=lambda text: [float(s) for s in text.split(",")],
                        metavar="T,T,...", help="one per picture (default: spread over 0..1000)")
    parser.add_argument("--num_classes", type=int, default=0,
                        help="of a class-conditional UNet (default 1000)")
    parser.add_argument("--device", default="cpu", help="cuda, for half precision")
    options, rest = parser.parse_known_args(words)
    if options.batch_size < 1:
        raise Usage("--batch_size must be at least 1")
    return options, rest


def main(words):
    options, rest = parse_command_line(words)
    path = options.model_path or options.classifier_path
    if not os.path.isfile(path):
        raise Usage(f"{path}: no such file")
    network, size, small_size = make_network(script_util(options.guided_diffusion), options, rest)
    load_weights(network, path).to(options.device)
    if network.dtype == torch.float16:
        network.convert_to_fp16()
    dump(network, options.output, classifier=bool(options.classifier_path),
         activations=options.activations, **make_inputs(network, options, size, small_size))
    kind = "classifier_path" if options.classifier_path else "model_path"
    extra = f" --activations {options.activations}" if options.activations else ""
    print(f"compare with: tiller verify --{kind} {path} --reference {options.output}{extra}",
          *rest)


def run(words):
    """main(), with the exit status of what went wrong, and one line that says it."""
    try:
        main(words)
        return 0
    except Usage as error:
        print(f"dump_reference.py: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        print(f"dump_reference.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
