#!/usr/bin/env python3
"""What one training step costs in PyTorch on the CPU, with guided-diffusion's own modules.

    bench/peers/pytorch_train.py --guided_diffusion PATH [--network demo32|adm64] [--batch 64]
                                 [--threads 2] [--steps 5] [--variants eager,eager_cl,compile,...]

PATH is a checkout of OpenAI's guided-diffusion; torch and numpy must be importable. A step is that
of guided-diffusion's TrainLoop in f32: the loss at uniform timesteps, backward, the gradients' and
parameters' norms, AdamW, one moving average. Its pictures are random and lie in memory, so that no
time goes into data. Prints one JSON object per line and variant: seconds of each step, and the
process's peak memory.

networks:
    demo32  a small 32x32 UNet: 32 channels x 1,2,4,4
    adm64   the published 64x64 architecture with 64 channels instead of 192
"""
import argparse
import copy
import json
import os
import resource
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pytorch_step import import_guided_diffusion

NETWORKS = {
    "demo32": dict(image_size=32, num_channels=32, num_res_blocks=1, channel_mult="1,2,4,4",
                   attention_resolutions="8,4", num_head_channels=32, class_cond=False,
                   learn_sigma=False, use_scale_shift_norm=True, noise_schedule="cosine"),
    "adm64": dict(image_size=64, num_channels=64, num_res_blocks=3, channel_mult="",
                  attention_resolutions="32,16,8", num_head_channels=64, class_cond=False,
                  learn_sigma=True, resblock_updown=True, use_scale_shift_norm=True,
                  use_new_attention_order=True, noise_schedule="cosine"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guided_diffusion", required=True)
    parser.add_argument("--network", default="demo32", choices=sorted(NETWORKS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--variants", default="eager,eager_cl,compile,compile_cl")
    args = parser.parse_args()

    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    script_util = import_guided_diffusion(args.guided_diffusion)
    flags = script_util.model_and_diffusion_defaults()
    flags.update(NETWORKS[args.network])
    for variant in args.variants.split(","):
        memory = torch.channels_last if variant.endswith("_cl") else torch.contiguous_format
        torch.manual_seed(0)
        model, diffusion = script_util.create_model_and_diffusion(**flags)
        model.train().to(memory_format=memory)
        average = copy.deepcopy(list(model.parameters()))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)
        network = model
        if variant.startswith("compile"):
            torch._dynamo.reset()
            # One compiled version per block: TimestepEmbedSequential.forward serves all of them.
            torch._dynamo.config.recompile_limit = 256
            network = torch.compile(model)
        size = flags["image_size"]
        pictures = torch.randn(4, args.batch, 3, size, size)
        norms = []

        def step(i):
            x = pictures[i % 4].contiguous(memory_format=memory)
            t = torch.randint(0, 1000, (args.batch,))
            optimizer.zero_grad()
            losses = diffusion.training_losses(network, x, t)
            losses["loss"].mean().backward()
            with torch.no_grad():
                norms.append(sum(float(p.grad.norm()) ** 2 for p in model.parameters()) ** 0.5)
                norms.append(sum(float(p.norm()) ** 2 for p in model.parameters()) ** 0.5)
            optimizer.step()
            for target, source in zip(average, model.parameters()):
                target.detach().mul_(0.9999).add_(source.detach(), alpha=1 - 0.9999)

        for i in range(2):
            step(i)
        times = []
        for i in range(args.steps):
            begin = time.perf_counter()
            step(i)
            times.append(time.perf_counter() - begin)
        print(json.dumps({"peer": "pytorch", "version": torch.__version__, "variant": variant,
                          "network": args.network, "batch": args.batch,
                          "threads": torch.get_num_threads(),
                          "images_per_s": args.batch / statistics.median(times), "times": times,
                          "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}),
              flush=True)


if __name__ == "__main__":
    main()
