"""Commands for use outside the DAG: ``python -m evenface`` plan, prompts, shard, image, prune, assets, fairface,
config."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from evenface.assets import commands
from evenface.assets.registry import Registry, load_registry
from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.names import split_reference
from evenface.plan.overview import overview
from evenface.plan.paths import IMAGES, is_of_shard, set_file, set_name, shard_of
from evenface.plan.shards import build_plans, recipe_digest, shard_batches
from evenface.prompts.writers import commands as prompt_commands
from evenface.training.packs import stale_files

_ROOT = Path(__file__).resolve().parents[2]

#: Known answers of published weights: name -> (network, registry's entry of its weights).
VERIFIERS = {
    "magface": ("magface-iresnet100", "magface-iresnet100"),
    "fairface": ("fairface-7", "fairface-7"),
    "fairface-4": ("fairface-4", "fairface-4-alldata"),
}


def read_config(configfile: str) -> dict[str, Any]:
    """A configuration file as written; UserError if it cannot be read."""
    path = Path(configfile)
    if not path.is_file():
        raise UserError(f"{path}: no such configuration file; run this in the folder of the Snakefile")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from error
    if not isinstance(config or {}, dict):
        raise UserError(f"{path}: a configuration is a mapping of keys")
    return config or {}


def load_settings(configfile: str) -> dict[str, Any]:
    """The checked settings that the workflow has with ``--configfile``; raises the same UserErrors."""
    return check_config(workflow_config(configfile), name=configfile)


def plan_show(arguments: argparse.Namespace) -> None:
    """Print how many images each group gets, and what else the prompts ask for; with ``--prompts``, every prompt."""
    settings = load_settings(arguments.configfile)
    plans = build_plans(settings)
    print(overview(plans.values(), settings["generation"]["prompts"]))
    if arguments.prompts:
        for plan in plans.values():
            for name, recipe in plan.recipes.items():
                print(f"{name}\t{recipe['count']}\t{recipe['prompt']}")


def shard_show(arguments: argparse.Namespace) -> None:
    """Print a shard's recipe and table."""
    from evenface.storage.shards import read_shard

    with read_shard(arguments.shard) as shard:
        print(json.dumps(shard.recipe, indent=1))
        print(shard.table.drop(columns=[c for c in shard.table if c.startswith("truth")]).to_string(max_colwidth=40))


def image_show(arguments: argparse.Namespace) -> None:
    """Print an image's metadata on its origin, a field per line."""
    from evenface.storage import metadata
    from evenface.storage.formats import format_read, why_not_read
    from evenface.storage.images import ImageError, ImageReader
    from evenface.storage.shards import reference_of

    reference = arguments.image
    path, member = split_reference(reference)
    if not member and path.endswith(".tar"):
        raise UserError(f"{path}: a shard, not an image; name one of its images, {path}::<member>, as "
                        f"`python -m evenface shard show {path}` lists them")  # fmt: skip
    with ImageReader() as reader:
        data = reader.read_bytes(reference_of(path, member) if member and "/" not in member else reference)
    facts = metadata.read(data, reference)
    if facts is None and format_read(data) is None:
        raise ImageError(reference, *why_not_read(data))
    if facts is None:
        raise UserError(f"{reference}: the image says nothing of its origin: it has no digital source type")
    for field, value in metadata.shown(facts).items():
        print(f"{field:18} {value}")


def prune(arguments: argparse.Namespace) -> None:
    """List shards (and their tables) and packed pixels that the configuration no longer uses; delete them with --delete.

    As long as a used shard is missing, shards that hold pictures of it stay.
    """
    from evenface.generators.earlier import shards_with

    settings = load_settings(arguments.configfile)
    stale = []
    for plan in build_plans(settings).values():
        wanted = {*plan.shards, *shard_batches(list(plan.shards), settings["annotation"]["shards_per_batch"])}
        folder = Path(set_file(set_name(plan.generator), ""))
        if not all((folder / f"{shard}{IMAGES}").is_file() for shard in plan.shards):
            digests = {recipe_digest(recipe) for recipe in plan.recipes.values()}
            wanted |= {path.name.partition(".")[0] for path in shards_with(folder / "any", digests)}
        made = [file for below in ("", "annotations/", "quality/") for file in folder.glob(f"{below}*")]
        stale += [file for file in made if is_of_shard(file.name) and shard_of(file.name) not in wanted]
    stale += stale_files(settings)
    stale.sort()
    for path in stale:
        print(path)
        if arguments.delete:
            path.unlink()
    size = "deleted" if arguments.delete else "not asked for; delete them with: python -m evenface prune --delete"
    print(f"{len(stale)} files {size}" if stale else "nothing to prune")


def fairface_predict(arguments: argparse.Namespace) -> None:
    """Run FairFace over a list of pictures as its own ``predict.py`` does."""
    from evenface.annotators.fairface.predict import DLIB_FILES, predict_csv

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


def workflow_config(configfile: str) -> dict[str, Any]:
    """The configuration that the workflow has with ``--configfile``: merged over the shipped config.yaml, key by key."""

    def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
        both = {
            k: merged(below[k], v) if isinstance(v, dict) and isinstance(below.get(k), dict) else v
            for k, v in above.items()
        }
        return {**below, **both}

    return merged(read_config(str(_ROOT / "config.yaml")), read_config(configfile))


def registry_of(arguments: argparse.Namespace) -> Registry:
    """The registry that the configuration names; the shipped one if there is no configuration file."""
    here = Path(arguments.configfile).is_file()
    config = workflow_config(arguments.configfile) if here else {}
    return load_registry(_ROOT / str(config.get("registry") or "models/registry.yaml"))


def assets_check(arguments: argparse.Namespace) -> int:
    """Print what the configuration needs and has; returns 1 if something is missing that no rule fetches."""
    config = workflow_config(arguments.configfile)
    settings = check_config(config, name=arguments.configfile)
    text, good = commands.check(settings, load_registry(_ROOT / settings["registry"]), arguments.full)
    print(text)
    return 0 if good else 1


def assets_verify(arguments: argparse.Namespace) -> int:
    """Compare hashes; for published weights with known answers, compare these."""
    registry = registry_of(arguments)
    if arguments.name not in VERIFIERS:
        text, good = commands.verify(registry[arguments.name], registry, arguments.path)
        print(text)
        return 0 if good else 1
    from evenface.checkpoints.known_answers import KNOWN, report

    network, weights = VERIFIERS[arguments.name]
    known = KNOWN[network]
    checkpoint = arguments.path or registry[weights].files[0].path
    if not Path(checkpoint).is_file():
        print(f"skipped: {checkpoint} is not here; `python -m evenface assets show {weights}` says how to get it")
        return 0
    if missing := known.missing():
        print(
            f"skipped: {known.folder}/{missing[0]} is not here; get it with: python -m evenface assets fetch {known.asset}"
        )
        return 0
    print(report(network, checkpoint, known, known.folder))
    return 0


def prompts_write(arguments: argparse.Namespace) -> None:
    """Have a language model write the prompts of the configuration."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(prompt_commands.write(load_settings(arguments.configfile), arguments.device, arguments.threads))


def prompts_check(arguments: argparse.Namespace) -> int:
    """Print what is wrong with the prompts; returns 1 if they cannot be used."""
    text, good = prompt_commands.check(load_settings(arguments.configfile))
    print(text)
    return 0 if good else 1


def _prompts_parser(verbs: Any) -> None:
    actions = verbs.add_parser("prompts", help="the prompt catalogue").add_subparsers(required=True, metavar="action")

    def action(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=help)
        added.add_argument("--configfile", default=argparse.SUPPRESS)
        added.set_defaults(run=run)
        return added

    write = action("write", prompts_write, "have the configured language model write its prompts")
    write.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    write.add_argument("--threads", type=int, default=2)
    action("check", prompts_check, "what is wrong with the prompts, as a table")
    action("show", lambda a: print(prompt_commands.show(load_settings(a.configfile))), "every prompt, and who wrote it")
    export = action(
        "export",
        lambda a: print(prompt_commands.export(load_settings(a.configfile), a.csv)),
        "write the catalogue as a table to edit, for generation.prompts.file",
    )
    export.add_argument("csv")


def assets_markdown(arguments: argparse.Namespace) -> None:
    """Print the table of all assets, or renew it in a page."""
    registry = load_registry(_ROOT / "models" / "registry.yaml")
    if arguments.page:
        commands.write_page(arguments.page, registry)
    else:
        print(commands.markdown(registry), end="")


def assets_convert(arguments: argparse.Namespace) -> None:
    """Write a published network as safetensors, so that pickles need not be read later."""
    from evenface.checkpoints import convert_to_safetensors

    if Path(arguments.out).suffix != ".safetensors":
        raise UserError(f"{arguments.out}: give the converted file a name that ends in .safetensors")
    manifest = convert_to_safetensors(arguments.name, arguments.path, arguments.out)
    print(f"{arguments.out}: {arguments.name} {json.dumps(manifest['network']['settings'], sort_keys=True)}")


def _assets_parser(verbs: Any) -> None:
    parser = verbs.add_parser("assets", help="third-party weights and data sets")
    actions = parser.add_subparsers(required=True, metavar="action")

    def action(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=help)
        added.add_argument("--configfile", default=argparse.SUPPRESS)
        added.set_defaults(run=run)
        return added

    def registered(method: Any) -> Any:
        return lambda a: print(method(registry_of(a)[a.name], registry_of(a)))

    check = action("check", assets_check, "what the configuration needs and has, and how to get the rest")
    check.add_argument(
        "--full", action="store_true", help="hash every file, also those whose size and time are as recorded"
    )
    action("list", lambda a: print(commands.listing(registry_of(a))), "all of the registry")
    action("show", registered(commands.show), "one entry of the registry").add_argument("name")
    action("fetch", registered(commands.fetch), "fetch an asset now").add_argument("name")
    verify = action(
        "verify",
        assets_verify,
        "compare hashes; `magface`, `fairface`, `fairface-4`: known answers for the published sample pictures",
    )
    verify.add_argument("name")
    verify.add_argument("path", nargs="?", help="a data set's folder, or the checkpoint to prove")
    accepted = action(
        "accept", lambda a: print(commands.accept_all(a.names, registry_of(a))), "use changed files from now on"
    )
    accepted.add_argument("names", nargs="+", help="paths, or names of assets")
    convert = action("convert", assets_convert, "write a published network as safetensors")
    convert.add_argument("name", help="as load_network knows it, e.g. stylegan3")
    convert.add_argument("path", help="the file as its authors publish it")
    convert.add_argument("out", help="where to write; a .json of the same stem is put beside it")
    action("markdown", assets_markdown, "the table of docs/assets.md").add_argument("page", nargs="?")


def config_schema(arguments: argparse.Namespace) -> None:
    """Print the JSON schema of config.yaml with the library's parts, as schemas/config.schema.yaml has it."""
    from evenface.configuration.schema import written_schema

    print(written_schema(), end="")


def config_reference(arguments: argparse.Namespace) -> None:
    """Print docs/reference.md; with a configuration file, the keys of its extensions too."""
    from evenface.configuration.reference import reference
    from evenface.configuration.schema import configuration_schema

    if arguments.configfile:
        load_settings(arguments.configfile)
    print(reference(configuration_schema()), end="")


def config_tables(arguments: argparse.Namespace) -> None:
    """Print docs/tables.md."""
    from evenface.fairness.columns import page

    print(page(), end="")


def _config_parser(verbs: Any) -> None:
    actions = verbs.add_parser("config", help="the configuration").add_subparsers(required=True, metavar="action")
    show = actions.add_parser("show", help="the checked configuration with every default, as YAML")
    show.add_argument("--configfile", default=argparse.SUPPRESS)
    show.set_defaults(run=lambda a: print(yaml.safe_dump(load_settings(a.configfile), sort_keys=False), end=""))
    schema = actions.add_parser("schema", help="its JSON schema, for editors: schemas/config.schema.yaml")
    schema.set_defaults(run=config_schema)
    tables = actions.add_parser("tables", help="every column of the fairness tables, as Markdown: docs/tables.md")
    tables.set_defaults(run=config_tables)
    keys = actions.add_parser("reference", help="every key, as Markdown: docs/reference.md")
    keys.add_argument("--configfile", default=None, help="list the keys of this configuration's extensions too")
    keys.set_defaults(run=config_reference)


#: Arguments that are paths.
_PATHS = ("shard", "image", "csv", "weights", "weights_4", "out", "landmarks", "mmod", "path", "page")


def _enter_project(arguments: argparse.Namespace) -> None:
    """Called in a folder below the project's, work in the project's: the configuration's paths are relative to it.

    Paths on the command line keep their meaning.
    """
    here = Path.cwd()
    below = [folder for folder in (here, *here.parents) if (folder / "config.yaml").is_file()]
    root = next((folder for folder in below if (folder / "Snakefile").is_file()), here)
    if root == here:
        return
    given = [name for name in _PATHS if isinstance(getattr(arguments, name, None), str)]
    if arguments.configfile not in (None, "config.yaml"):
        given.append("configfile")
    for name in given:
        setattr(arguments, name, os.path.join(here, getattr(arguments, name)))
    arguments.names = [str(here / n) if (here / n).exists() else n for n in getattr(arguments, "names", ())]
    os.chdir(root)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m evenface", description=__doc__)
    parser.add_argument("--configfile", default="config.yaml", help="merged over the shipped config.yaml")
    verbs = parser.add_subparsers(required=True, metavar="verb")
    plan = verbs.add_parser("plan", help="what will be generated").add_subparsers(required=True, metavar="action")
    show = plan.add_parser("show", help="how many images each group gets, and what else the prompts ask for")
    show.add_argument("--configfile", default=argparse.SUPPRESS)
    show.add_argument("--prompts", action="store_true", help="also every prompt with its number of images")
    show.set_defaults(run=plan_show)
    shard = verbs.add_parser("shard", help="what a shard holds").add_subparsers(required=True).add_parser("show")
    shard.add_argument("shard")
    shard.set_defaults(run=shard_show)
    image = verbs.add_parser("image", help="where an image comes from").add_subparsers(required=True).add_parser("show")
    image.add_argument("image", help="a PNG, JPEG or WebP file, or shard.tar::member")
    image.set_defaults(run=image_show)
    remove = verbs.add_parser("prune", help="shards and packed pixels that no configuration asks for")
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
    _prompts_parser(verbs)
    _assets_parser(verbs)
    _config_parser(verbs)
    arguments = parser.parse_args(argv)
    try:
        _enter_project(arguments)
        status = arguments.run(arguments) or 0
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
