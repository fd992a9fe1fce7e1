"""What the comparing scripts share: where Tiller lies, running a program, the processor's name."""
import os
import platform
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TILLER = os.path.join(ROOT, "build", "release", "tiller")


def run(command, **options):
    """Standard output of a command; ends this program when it fails."""
    print("+ " + " ".join(command), file=sys.stderr, flush=True)
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"{command[0]} failed with code {result.returncode}")
    return result.stdout


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
