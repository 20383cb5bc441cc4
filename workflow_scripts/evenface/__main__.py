"""What a person does outside the DAG: ``python -m evenface plan show | shard show | prune | fairface predict | reference``."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from evenface.configuration import check_config, load_schema, reference
from evenface.errors import UserError
from evenface.planning.shards import Plan, build_plan, shard_batches

_SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.yaml"


def load_settings(configfile: str) -> dict[str, Any]:
    """The checked settings of a configuration file; raises UserError as the workflow would."""
    path = Path(configfile)
    if not path.is_file():
        raise UserError(f"{path}: no such configuration file; run this in the folder of the Snakefile")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from error
    return check_config(config or {}, load_schema(_SCHEMA), name=str(path))


def load_plan(configfile: str) -> Plan:
    """The plan of a configuration file."""
    return build_plan(load_settings(configfile))


def plan_show(arguments: argparse.Namespace) -> None:
    """Print how many images each group gets, and every prompt when asked."""
    plan = load_plan(arguments.configfile)
    images: Counter[tuple[str, str]] = Counter()
    for recipe in plan.recipes.values():
        for dimension in ("gender", "age", "ethnicity"):
            images[dimension, recipe[dimension]] += recipe["count"]
    print(f"generator {plan.generator}: {len(plan)} images in {len(plan.shards)} shards")
    for (dimension, level), count in sorted(images.items()):
        print(f"  {dimension:10} {level:12} {count:7}")
    if arguments.prompts:
        for name, recipe in plan.recipes.items():
            print(f"{name}\t{recipe['count']}\t{recipe['prompt']}")


def shard_show(arguments: argparse.Namespace) -> None:
    """Print a shard's recipe and table."""
    from evenface.storage.shards import read_shard

    with read_shard(arguments.shard) as shard:
        print(json.dumps(shard.recipe, indent=1))
        print(shard.table.drop(columns=[c for c in shard.table if c.startswith("truth")]).to_string(max_colwidth=40))


def prune(arguments: argparse.Namespace) -> None:
    """List shards (and their tables) that the configuration no longer asks for; delete them with --delete."""
    settings = load_settings(arguments.configfile)
    plan = build_plan(settings)
    batches = shard_batches(plan.shards, settings["annotation"]["shards_per_batch"])
    folder = Path("data/synthetic") / plan.generator
    stale = [path for path in folder.glob("*") if "-" in path.name and path.name.split(".")[0] not in plan.recipes]
    for made in ("annotations", "quality"):
        stale += [path for path in folder.glob(f"{made}/*") if path.name.split(".")[0] not in batches]
    stale.sort()
    for path in stale:
        print(path)
        if arguments.delete:
            path.unlink()
    size = "deleted" if arguments.delete else "not asked for; delete them with: python -m evenface prune --delete"
    print(f"{len(stale)} files {size}" if stale else "nothing to prune")


def fairface_predict(arguments: argparse.Namespace) -> None:
    """Run FairFace over a list of pictures as its own ``predict.py`` does."""
    from evenface.annotators.fairface_predict import DLIB_FILES, predict_csv

    fate = predict_csv(
        arguments.csv,
        arguments.weights,
        arguments.out,
        weights_4=arguments.weights_4,
        detector=arguments.detector,
        files={key: getattr(arguments, key) for key in DLIB_FILES if getattr(arguments, key)},
        precision=arguments.precision,
        device=arguments.device,
        threads=arguments.threads,
    )
    reasons = fate["reason"][fate["reason"] != ""].value_counts()
    lost = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
    faces, pictures = int((fate["reason"] == "").sum()), fate["img_path"].nunique()
    beside = Path(arguments.out).with_suffix(".images.csv")
    print(f"{arguments.out}: {faces} faces in {pictures} pictures; without a row: {lost} ({beside})")


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m evenface", description=__doc__)
    parser.add_argument("--configfile", default="config.yaml")
    verbs = parser.add_subparsers(required=True, metavar="verb")
    show = verbs.add_parser("plan", help="what will be generated").add_subparsers(required=True).add_parser("show")
    show.add_argument("--prompts", action="store_true", help="also every prompt")
    show.set_defaults(run=plan_show)
    shard = verbs.add_parser("shard", help="what a shard holds").add_subparsers(required=True).add_parser("show")
    shard.add_argument("shard")
    shard.set_defaults(run=shard_show)
    remove = verbs.add_parser("prune", help="shards that no configuration asks for")
    remove.add_argument("--delete", action="store_true")
    remove.set_defaults(run=prune)
    fairface = verbs.add_parser("fairface", help="FairFace's own program").add_subparsers(required=True)
    predict = fairface.add_parser("predict", help="race, gender and age of every face, as its predict.py writes them")
    predict.add_argument("--csv", required=True, help="list of pictures, column img_path")
    predict.add_argument("--weights", required=True, help="the network of seven races, gender and age")
    predict.add_argument("--weights-4", help="the network of four races; without it its columns stay empty")
    predict.add_argument("--out", default="test_outputs.csv")
    predict.add_argument("--detector", default="mmod", choices=["mmod", "hog", "none"], help="none: pictures are chips")
    predict.add_argument("--landmarks", help="dlib's 5-point model; by default the one in models/dlib")
    predict.add_argument("--mmod", help="dlib's MMOD model; by default the one in models/dlib")
    predict.add_argument("--precision", default="published", choices=["published", "float32", "bfloat16", "auto"])
    predict.add_argument("--device", default="cpu", choices=["cpu", "cuda", "auto"])
    predict.add_argument("--threads", type=int, default=1)
    predict.set_defaults(run=fairface_predict)
    keys = verbs.add_parser("reference", help="every configuration key, as Markdown")
    keys.set_defaults(run=lambda _: print(reference(load_schema(_SCHEMA)), end=""))
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
