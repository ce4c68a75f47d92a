"""`raypipe weights`: fetch, convert, check and verify the BLIP-2 weights, and convert those of YOLO.

Nothing heavy is imported before a command runs, so `--help` is quick.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from raypipe.cli.options import add_command, add_debug, add_group
from raypipe.errors import UserError

FETCH = "raypipe weights fetch --out downloads"
LAVIS = "--qformer downloads/blip2_pretrained.pth --vit downloads/eva_vit_g.pth"
CONVERT = f"raypipe weights convert {LAVIS} --out weights/blip2"
CHECK = "raypipe weights check weights/blip2"


def add_weights_parser(subparsers: Any) -> None:
    """Add `weights` and its four commands to the subparsers of an argparse parser."""
    text = "fetch, convert, check and verify the weights of BLIP-2, and convert those of YOLO"
    commands = add_group(subparsers, "weights", text, "\n".join((FETCH, CONVERT, CHECK)), "weights_command")

    text = "download the official files of BLIP-2, or say how to get them by hand"
    fetch = add_command(commands, "fetch", text, run_weights, f"{FETCH}\n{FETCH} --model vitl")
    fetch.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    fetch.add_argument("--model", choices=("vitg", "vitl"), default="vitg", help="backbone (default: %(default)s)")

    convert = add_command(
        commands,
        "convert",
        "turn published weights into a folder that raypipe loads",
        run_weights,
        f"""
        {CONVERT}
        raypipe weights convert --huggingface downloads/blip2-itm-vit-g --out weights/blip2
        raypipe weights convert --yolo yolo11n.pt --trust-pickle --out weights/yolo
        """,
        "Give --qformer with --vit (LAVIS's two files), --qformer alone (a LAVIS-format file with the "
        "ViT inside and a config JSON), --huggingface (a blip2-itm folder, which cannot caption), or --yolo (a "
        "detection checkpoint of Ultralytics: a pickle, so say by --sha256 or --trust-pickle that you trust it).",
    )
    source = convert.add_mutually_exclusive_group(required=True)
    source.add_argument("--qformer", type=Path, metavar="FILE", help="blip2_pretrained.pth, or a LAVIS-format file")
    source.add_argument("--huggingface", type=Path, metavar="DIR", help="a downloaded Salesforce/blip2-itm-* folder")
    source.add_argument("--yolo", type=Path, metavar="PT", help="a detection checkpoint of Ultralytics, as yolo11n.pt")
    convert.add_argument("--sha256", metavar="HEX", help="--yolo: read the pickle only if this is its sha256")
    convert.add_argument("--trust-pickle", action="store_true", help="--yolo: read the pickle, which may run code")
    convert.add_argument("--vit", type=Path, metavar="FILE", help="eva_vit_g.pth or clip_vit_L.pth")
    convert.add_argument(
        "--config", type=Path, metavar="JSON", help="sizes (default: NAME.json beside NAME[.lavis].*, else LAVIS's)"
    )
    convert.add_argument("--vocab", type=Path, metavar="TXT", help="word pieces (default: vocab.txt beside the file)")
    convert.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")

    text = "load a converted folder and caption one generated picture"
    check = add_command(commands, "check", text, run_weights, CHECK)
    check.add_argument("folder", type=Path, metavar="DIR")

    text = "recompute recorded outputs and compare them"
    verify = add_command(
        commands,
        "verify",
        text,
        run_weights,
        "raypipe weights verify weights/blip2 --reference reference.npz --json differences.json",
        "Exit code 1: a difference is past its tolerance.",
    )
    verify.add_argument("folder", type=Path, metavar="DIR")
    verify.add_argument("--reference", type=Path, required=True, metavar="NPZ", help="recorded inputs and outputs")
    verify.add_argument("--json", type=Path, metavar="OUT", help="write the differences there, too")
    verify.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    for command in (fetch, convert, check, verify):
        add_debug(command)


def run_weights(args: argparse.Namespace) -> int:
    """Run the command that `args` name and return its exit code. Raises UserError for a user's mistake."""
    if args.weights_command == "fetch":
        from raypipe.weights.fetch import OFFICIAL, fetch

        return 0 if fetch(OFFICIAL[args.model], args.out, _say) else 1
    if args.weights_command == "convert":
        return _convert(args)
    if args.weights_command == "check":
        from raypipe.weights.convert_blip2 import check

        for line in check(args.folder):
            _say(line)
        return 0
    return _verify(args)


def _convert(args: argparse.Namespace) -> int:
    if args.yolo:
        if args.vit or args.config or args.vocab:
            raise UserError("--vit, --config and --vocab belong to --qformer; a YOLO checkpoint needs none")
        from raypipe.weights.convert_yolo import convert_yolo

        for line in convert_yolo(args.yolo, args.out, sha256=args.sha256, trust_pickle=args.trust_pickle):
            _say(line)
        return 0
    if args.sha256 or args.trust_pickle:
        raise UserError("--sha256 and --trust-pickle belong to --yolo; the other files are read without running code")
    from raypipe.weights.convert_blip2 import convert_huggingface, convert_lavis

    if args.huggingface:
        if args.vit or args.config:
            raise UserError("--vit and --config belong to --qformer; a Hugging Face folder has its own")
        lines = convert_huggingface(args.huggingface, args.out, vocab=args.vocab)
    else:
        lines = convert_lavis(args.qformer, args.out, vit=args.vit, config=args.config, vocab=args.vocab)
    for line in lines:
        _say(line)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from raypipe.weights.verify import verify

    result = verify(args.folder, args.reference, args.device)
    _say(f"{'output':<24}{'largest difference':>20}{'tolerance':>12}")
    for name, output in result["outputs"].items():
        difference = output["largest_difference"]
        shown = "not finite" if difference is None else f"{difference:.3g}"
        _say(f"{name:<24}{shown:>20}{output['tolerance']:>12.3g}{'' if output['passed'] else '  FAILED'}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0 if result["passed"] else 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
