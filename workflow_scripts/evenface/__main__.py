"""Commands for use outside the DAG: ``python -m evenface`` plan, power, evaluate, prompts, shard, image, prune, assets,
fairface, config."""

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
from evenface.taxonomy import LABEL_CODINGS, parse_grouping
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


def power(arguments: argparse.Namespace) -> None:
    """Print what a test set can see: the configured one's, that of a table of one's own, or one given in numbers."""
    from evenface.fairness import planning
    from evenface.fairness.settings import FairnessSettings, PlanningSettings

    if arguments.people and (arguments.table or arguments.grouping or arguments.attribute):
        raise UserError("power: --people describes a whole test set; leave out --table, --grouping and --attribute")
    if arguments.images and not arguments.people:
        raise UserError("power: --images needs --people, the people of every group; a table has its own images")
    own = bool(arguments.people or arguments.table)
    section = {} if own else load_settings(arguments.configfile)["evaluation"]
    seeds = 2 if own else len(load_settings(arguments.configfile)["training"]["seeds"])
    settings = FairnessSettings.from_config(section)
    if not own:
        for name in arguments.grouping:
            parse_grouping(name, "--grouping")
        settings = settings.changed(
            groupings=tuple(arguments.grouping) or settings.groupings,
            attributes=tuple(arguments.attribute) or settings.attributes,
        )
    assumptions = planning.Assumptions.from_config(section.get("planning", {}), settings, seeds).with_options(
        {name: getattr(arguments, name) for name in PlanningSettings.model_fields},
        power=arguments.power, level=arguments.alpha, tests=arguments.tests, n_seeds=arguments.seeds,
    )  # fmt: skip
    if arguments.earlier:
        assumptions = planning.learned_from(arguments.earlier, assumptions)
    if arguments.people:
        name, found = (
            "numbers",
            planning.designs_of_numbers(arguments.people, arguments.images or [1.0], arguments.images_cv),
        )
    elif arguments.table:
        least = settings.changed(label_coding=arguments.label_coding)
        name = arguments.table
        found = planning.designs_of_table(name, arguments.grouping, arguments.attribute, least)
    else:
        name = section["dataset"]
        faces = f"data/faces/{name}.parquet"
        if not Path(faces).is_file():
            raise UserError(
                f"{faces} does not exist yet; the rule read_dataset makes it from the data set: snakemake --cores 1 {faces}"
            )
        found = planning.designs_of_faces(faces, settings)
    table = planning.plan(found, assumptions, name)
    print(planning.text(table, assumptions))
    for sentence in planning.warnings(table, settings.n_perm):
        print(f"warning: {sentence}", file=sys.stderr)
    if arguments.out:
        from evenface.storage.csv import write_csv

        path = Path(arguments.out) / "power.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_csv(table, path)
        print(f"{path}: {len(table)} rows")


def _power_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "power", help="what a test set can see, before anything is trained: gaps, people and seeds (docs/statistics.md)"
    )
    add = parser.add_argument
    add("--configfile", default=argparse.SUPPRESS)
    add("--table", help="instead of the configured test set: a CSV or Parquet table, a row per image, with identity_id, groups "
        "and labels")  # fmt: skip
    add("--label-coding", default="minus_one_one", choices=list(LABEL_CODINGS), help="how --table writes labels")
    add("--people", type=int, nargs="+", metavar="N", help="instead of a test set: people of each group, e.g. 200 200")
    add("--images", type=float, nargs="+", metavar="N", help="with --people: images that count, per person; default 1")
    add("--images-cv", type=float, default=0.0, metavar="X",
        help="with --people: standard deviation over mean of people's numbers of images")  # fmt: skip
    add("--from", dest="earlier", metavar="FOLDER", help="take rates, design effects and the variance of changes from an "
        "earlier run's tables, e.g. results/fairness")  # fmt: skip
    add("--grouping", nargs="+", default=[], metavar="NAME", help="e.g. gender gender*ethnicity")
    add("--attribute", nargs="+", default=[], metavar="NAME")
    add(
        "--gap", type=float, help="how many people per group a gap of this size needs; default: the practical threshold"
    )
    add("--change", type=float, help="how many seeds a change of a method's gap by this much needs")
    add("--seeds", type=int, help="how many times as many people the change needs with this number of seeds")
    add("--training-sd", type=float, help="standard deviation of the change between seeds")
    add("--rate", type=float, help="assumed share of right answers in the best group")
    add("--person-sd", type=float, help="how much people differ: standard deviation on the logit scale")
    add("--run-correlation", type=float, help="correlation of two runs' rates over the choice of people")
    add("--power", type=float, help="chance of seeing what is asked for; default 0.8")
    add("--alpha", type=float, help="level of all tests of a family together; default 0.05")
    add("--tests", type=int, help="number of tests that share the level (Bonferroni); default: one for each attribute")
    add("--out", metavar="FOLDER", help="also write FOLDER/power.csv")
    parser.set_defaults(run=power)


def evaluate_own(arguments: argparse.Namespace) -> None:
    """Write the fairness tables and the report of predictions, labels and groups in files of one's own."""
    from evenface.joblog import limit_threads

    limit_threads(1)  # blocks of attributes have threads of their own
    from evenface.fairness.settings import PREDICTION_KEYS
    from evenface.report.own_evaluation import REPORT, SUMMARY, evaluate_own_tables

    predictions: dict[str, str] = {}
    for given in arguments.predictions:
        name, equals, path = given.partition("=")
        if not equals:
            name, path = Path(given).stem, given
        if name in predictions:
            raise UserError(
                f"--predictions: {name!r} is given twice; write --predictions NAME={path} with another name"
            )
        predictions[name] = path
    options = {} if arguments.settings is None else read_config(arguments.settings)
    if not set(options) - {"evaluation"}:
        options = options.get("evaluation") or {}
    own = ("baseline", "thresholds", *PREDICTION_KEYS)  # of the workflow, or options of this command
    options = {key: value for key, value in options.items() if key not in own}
    options |= {
        name: value for name in ("groupings", "attributes", "practical_threshold", "seed", "n_boot", "n_perm")
        if (value := getattr(arguments, name)) is not None
    }  # fmt: skip
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")
    try:
        notes = evaluate_own_tables(
            predictions, arguments.labels, arguments.groups, arguments.out, baseline=arguments.baseline,
            threads=arguments.threads, by=arguments.by, identity=arguments.identity, image=arguments.image,
            label_coding=arguments.label_coding, threshold=arguments.threshold, **options,
        )  # fmt: skip
    except UserError as error:
        where = "; keys of evaluation stand in a YAML file that --settings names" if "evaluation." in str(error) else ""
        raise UserError(f"{error}{where}") from error
    for note in notes:
        print(note)
    print(f"{Path(arguments.out) / SUMMARY} and {Path(arguments.out) / REPORT} are written")


def _evaluate_parser(verbs: Any) -> None:
    parser = verbs.add_parser("evaluate", help="fairness tables and report of predictions, labels and groups in your own "
                              "files, CSV or Parquet (docs/evaluate.md)")  # fmt: skip
    add = parser.add_argument
    add("--predictions", required=True, nargs="+", metavar="[NAME=]FILE", help="a table per model: the image, and a score or "
        "decision per attribute; NAME-1=FILE and NAME-2=FILE are two seeds of a method")  # fmt: skip
    add("--labels", required=True, metavar="FILE", help="the image, and a label per attribute")
    add("--groups", metavar="FILE", help="the image, and a column per dimension, such as gender")
    add("--by", nargs="+", default=[], metavar="COLUMN", help="columns that are dimensions; default: all of --groups")
    add(
        "--identity",
        metavar="COLUMN",
        help="column of the person, in any of the files; default: identity_id, person, ...",
    )
    add("--image", metavar="COLUMN", help="column of the image, in every file; default: image, image_id, file, ...")
    add("--label-coding", choices=list(LABEL_CODINGS), help="what labels mean, if they could mean two things")
    add("--threshold", type=float, default=0.5, help="scores at least as large are decisions for yes; default 0.5")
    add("--baseline", metavar="NAME", help="the model that others are compared with; default: the first")
    add("--attributes", nargs="+", metavar="NAME", help="default: all that are predicted and labelled")
    add(
        "--groupings", nargs="+", metavar="NAME", help="such as gender gender*age; default: every dimension and product"
    )
    add("--practical-threshold", type=float, help="the gap that matters in practice; default 0.05")
    add("--n-boot", type=int, help="bootstrap replicates; default 1000")
    add("--n-perm", type=int, help="permutations; default 1000")
    add("--seed", type=int, help="of all random draws; default 0")
    add("--settings", metavar="FILE", help="YAML with further keys of the section evaluation (docs/reference.md)")
    add("--threads", type=int, default=min(4, os.cpu_count() or 1), help="does not change results")
    add("--out", required=True, metavar="FOLDER")
    parser.set_defaults(run=evaluate_own)


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
_PATHS = (
    "shard", "image", "csv", "weights", "weights_4", "out", "landmarks", "mmod", "path", "page", "table", "earlier",
)  # fmt: skip


def _enter_project(arguments: argparse.Namespace) -> None:
    """Called in a folder below the project's, work in the project's: the configuration's paths are relative to it.

    Paths on the command line keep their meaning.
    """
    here = Path.cwd()
    below = [folder for folder in (here, *here.parents) if (folder / "config.yaml").is_file()]
    root = next((folder for folder in below if (folder / "Snakefile").is_file()), here)
    if root == here:
        return
    if arguments.run is evaluate_own:  # it reads no configuration
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
    _power_parser(verbs)
    _evaluate_parser(verbs)
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
