"""`make gpu`: exports the tiny pair in several formats and measures each on the GPU backend against the CPU."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.export.command import run_export
from tests.gpu.driver import find_driver
from tests.gpu.measure import PROMPTS, main
from tests.scale.checkpoint import PairPaths

TINY = PROMPTS.parent
RECIPE = Path(__file__).parent.parent.parent / "export" / "tiny.toml"
FORMATS = (("float32", "fp32"), ("float32", "fp16"), ("int8", "fp32"), ("int8", "fp16"))
"""(weights, activations); the CPU computes in float32 whatever the activations are for the GPU."""


def bundles(folder: Path) -> Iterator[str]:
    """The tiny pair in every format."""
    folder.mkdir(parents=True, exist_ok=True)
    for weights, activation in FORMATS:
        recipe = folder / f"{weights}-{activation}.toml"
        text = RECIPE.read_text(encoding="utf-8").replace('dtype = "int8"', f'dtype = "{weights}"')
        recipe.write_text(text.replace('activation = "fp32"', f'activation = "{activation}"'), encoding="utf-8")
        bundle = folder / f"tiny-{weights}-{activation}.litertlm"
        done = run_export(PairPaths(TINY / "target", TINY / "drafter"), bundle, "--recipe", recipe, "--overwrite")
        if done.returncode != 0:
            raise SystemExit(f"the export of {bundle.name} failed:\n{done.stdout}")
        yield str(bundle)


if __name__ == "__main__":
    environment, driver = find_driver()
    if not environment:
        raise SystemExit(f"nothing can be checked: {driver}")
    os.environ.update(environment)
    print(f"Vulkan driver: {driver}", flush=True)
    sys.argv[1:1] = list(bundles(Path("build/gpu")))
    sys.exit(main())
