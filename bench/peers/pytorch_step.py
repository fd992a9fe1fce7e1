#!/usr/bin/env python3
"""What one guided sampling step costs in PyTorch, with guided-diffusion's own modules.

    bench/peers/pytorch_step.py --guided_diffusion PATH [--batch 1,4] [--threads 2] [--repeat 5]
                                [--variants eager,eager_cl,compile,compile_cl] [--save FOLDER]
                                [--device cuda] [--half unet,classifier]

PATH is a checkout of OpenAI's guided-diffusion; torch and numpy must be importable. The networks are
the published 64x64 ones (or --size 128, 256, 512) with random weights, the zero-initialised layers
included; --half converts the torso of the named ones to f16, as --use_fp16 and --classifier_use_fp16
do. Three times are taken: the UNet's forward, the classifier's log-probability with its
gradient by the picture (as classifier_sample.py's cond_fn), and both with p_sample's arithmetic.
Variants: eager, eager_cl (channels-last memory), compile and compile_cl (torch.compile).

--save FOLDER writes unet.pt, classifier.pt and reference npz files, so that Tiller can run the same
weights and show that it computes the same numbers. Prints one JSON object per line.
"""
import argparse
import json
import os
import statistics
import sys
import time
import types

SIZES = {
    # The flags of guided-diffusion's README, per picture size.
    64: (
        dict(image_size=64, num_channels=192, num_res_blocks=3, attention_resolutions="32,16,8",
             num_head_channels=64, class_cond=True, learn_sigma=True, resblock_updown=True,
             use_scale_shift_norm=True, use_new_attention_order=True, dropout=0.1),
        dict(image_size=64, classifier_depth=4),
        "cosine",
    ),
    128: (
        dict(image_size=128, num_channels=256, num_res_blocks=2, attention_resolutions="32,16,8",
             num_heads=4, class_cond=True, learn_sigma=True, resblock_updown=True,
             use_scale_shift_norm=True),
        dict(image_size=128),
        "linear",
    ),
    256: (
        dict(image_size=256, num_channels=256, num_res_blocks=2, attention_resolutions="32,16,8",
             num_head_channels=64, class_cond=True, learn_sigma=True, resblock_updown=True,
             use_scale_shift_norm=True),
        dict(image_size=256),
        "linear",
    ),
    512: (
        dict(image_size=512, num_channels=256, num_res_blocks=2, attention_resolutions="32,16,8",
             num_head_channels=64, class_cond=True, learn_sigma=True, resblock_updown=True,
             use_scale_shift_norm=True),
        dict(image_size=512),
        "linear",
    ),
}


def import_guided_diffusion(path):
    sys.path.insert(0, path)
    # dist_util and logger want MPI; the networks and the process do not.
    for name in ("mpi4py", "blobfile"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["mpi4py"].MPI = None
    from guided_diffusion import script_util

    return script_util


def build(script_util, size, half, torch):
    unet_flags, classifier_flags, schedule = SIZES[size]
    flags = script_util.model_and_diffusion_defaults()
    flags.update(unet_flags, noise_schedule=schedule, timestep_respacing="250",
                 use_fp16="unet" in half)
    torch.manual_seed(0)
    unet, diffusion = script_util.create_model_and_diffusion(**flags)
    flags = script_util.classifier_defaults()
    flags.update(classifier_flags, classifier_use_fp16="classifier" in half)
    classifier = script_util.create_classifier(**flags)
    for module in (unet, classifier):
        module.eval()
        for p in module.parameters():
            if float(p.abs().max()) == 0.0:
                torch.nn.init.normal_(p, std=0.02)
            p.requires_grad_(True)  # as the sampling script leaves them
    return unet, classifier, diffusion


def save(folder, unet, classifier, size, torch):
    import numpy as np

    os.makedirs(folder, exist_ok=True)
    torch.save(unet.state_dict(), os.path.join(folder, "unet.pt"))
    torch.save(classifier.state_dict(), os.path.join(folder, "classifier.pt"))
    torch.manual_seed(1)
    x = torch.randn(1, 3, size, size)
    t = torch.tensor([500])
    y = torch.tensor([207])
    with torch.no_grad():
        out = unet(x, t, y)
    np.savez(os.path.join(folder, "unet.npz"), x=x.numpy(), t=t.numpy(), y=y.numpy(), out=out.numpy())
    logits, grad = cond(classifier, x, t, y, torch)
    np.savez(os.path.join(folder, "classifier.npz"), x=x.numpy(), t=t.numpy(), y=y.numpy(),
             logits=logits.detach().numpy(), grad=grad.numpy())


def cond(classifier, x, t, y, torch):
    with torch.enable_grad():
        x_in = x.detach().requires_grad_(True)
        logits = classifier(x_in, t)
        log_probs = torch.log_softmax(logits, dim=-1)
        selected = log_probs[range(len(logits)), y.view(-1)]
        return logits, torch.autograd.grad(selected.sum(), x_in)[0]


def seconds(f, repeat, wait):
    for _ in range(3):  # compiles, chooses algorithms, fills the allocator's cache
        f()
    wait()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        f()
        wait()
        times.append(time.perf_counter() - begin)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guided_diffusion", required=True)
    parser.add_argument("--size", type=int, default=64, choices=sorted(SIZES))
    parser.add_argument("--batch", default="1")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--variants", default="eager,eager_cl,compile,compile_cl")
    parser.add_argument("--save", default="")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--half", default="", help="unet, classifier, or both with a comma between")
    args = parser.parse_args()

    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    script_util = import_guided_diffusion(args.guided_diffusion)
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("pytorch_step.py: this PyTorch sees no GPU")
    wait = torch.cuda.synchronize if args.device == "cuda" else (lambda: None)
    half = args.half.split(",")
    unet, classifier, diffusion = build(script_util, args.size, half, torch)
    if args.save:  # f32, before anything is rounded
        save(args.save, unet, classifier, args.size, torch)
    unet.to(args.device)
    classifier.to(args.device)
    if "unet" in half:
        unet.convert_to_fp16()
    if "classifier" in half:
        classifier.convert_to_fp16()
    for variant in filter(None, args.variants.split(",")):
        channels_last = variant.endswith("_cl")
        memory = torch.channels_last if channels_last else torch.contiguous_format
        unet.to(memory_format=memory)
        classifier.to(memory_format=memory)
        net, clf = unet, classifier
        if variant.startswith("compile"):
            torch._dynamo.reset()
            # One compiled version per block: TimestepEmbedSequential.forward serves all of them.
            torch._dynamo.config.recompile_limit = 256
            net, clf = torch.compile(unet), torch.compile(classifier)
        for batch in map(int, args.batch.split(",")):
            x = torch.randn(batch, 3, args.size, args.size).contiguous(memory_format=memory)
            x = x.to(args.device)
            t = torch.full((batch,), 500, device=args.device)
            y = torch.arange(batch, device=args.device) % 1000
            now = torch.full((batch,), 125, device=args.device)

            def model(x_t, ts, y=None):
                return net(x_t, ts, y)

            def guide(x_t, ts, y=None):
                return cond(clf, x_t, ts, y, torch)[1]

            def forward():
                with torch.no_grad():
                    net(x, t, y)

            def step():
                with torch.no_grad():
                    diffusion.p_sample(model, x, now, cond_fn=guide, model_kwargs={"y": y})

            for what, f in (("unet", forward), ("classifier", lambda: cond(clf, x, t, y, torch)),
                            ("step", step)):
                if args.device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                times = seconds(f, args.repeat, wait)
                peak = torch.cuda.max_memory_allocated() if args.device == "cuda" else 0
                print(json.dumps({"peer": "pytorch", "version": torch.__version__,
                                  "variant": variant, "size": args.size, "batch": batch,
                                  "threads": torch.get_num_threads(), "what": what,
                                  "device": args.device, "half": args.half, "peak_bytes": peak,
                                  "median_s": statistics.median(times), "min_s": min(times),
                                  "times": times}), flush=True)


if __name__ == "__main__":
    main()
