#!/usr/bin/env python3
"""Compare runs of model_loop.py, paired over texts: ratios to a baseline with 95 % t intervals, as Markdown.

Runs that differ in nothing but --axis (row_range, setting, or a parameter such as mu) form a row of the table; the
baseline is the run whose axis has that value. Cells: geometric mean over texts of measure / baseline's measure.

example:
  model_table.py results/reference/model/2-decay --axis mu --baseline 1 --measure logit_kl
"""
import argparse
import csv
import math
import os
import sys

# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom; 1.96 beyond is less than 5 % off.
T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
     2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042]
PLACES = ("row_range", "setting", "layer_set")


def read(directory):
    with open(os.path.join(directory, "results.csv"), newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["status"] == "ok"]


def split(params):
    """"a=1 b=[2 3]" as a dict; blanks within brackets do not separate."""
    parts, depth = [""], 0
    for c in params:
        depth += (c == "[") - (c == "]")
        if c == " " and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return dict(part.split("=", 1) for part in parts if part)


def settings(row, axis):
    """(what else identifies the run, its value on the axis), or None where it has no such axis."""
    own = {**split(row["params"]), **{name: row[name] for name in PLACES}, "method": row["method"]}
    value = own.pop(axis, None)
    return None if value is None else (tuple(sorted(own.items())), value)


def ratio(values, base, measure):
    """Geometric mean of the ratio over the texts that both have, with the ends of its interval."""
    logs = [math.log(float(values[text][measure]) / float(base[text][measure])) for text in values if text in base]
    n, mean = len(logs), sum(logs) / len(logs)
    if n < 2:
        return f"{math.exp(mean):.3g}"
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / (n - 1) / n)
    t = T[n - 2] if n - 2 < len(T) else 1.96
    return f"{math.exp(mean):.3g} ({math.exp(mean - t * spread):.3g} to {math.exp(mean + t * spread):.3g})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="directory that model_loop.py wrote")
    parser.add_argument("--axis", required=True)
    parser.add_argument("--baseline", required=True, help="the axis' value that others are compared with")
    parser.add_argument("--measure", default="logit_kl", choices=("logit_kl", "logit_mse", "rel_l2", "ppl"))
    args = parser.parse_args()
    lines, values = {}, []
    for row in read(args.run):
        place = settings(row, args.axis)
        if place:
            lines.setdefault(place[0], {}).setdefault(place[1], {})[row["text"]] = row
            if place[1] not in values:
                values.append(place[1])
    if args.baseline not in values:
        sys.exit(f"model_table.py: error: no {args.axis} {args.baseline}; there are {', '.join(values) or 'none'}")
    common = set.intersection(*(set(line) for line in lines))
    print(f"| {args.measure}, ratio to {args.axis} {args.baseline} | density | " + " | ".join(values) + " |")
    print("|---" * (len(values) + 2) + "|")
    for line, runs in lines.items():
        name = " ".join(f"{k}={v}" for k, v in line if (k, v) not in common)
        base = runs.get(args.baseline, {})
        densities = [float(row["density"]) for row in base.values()]
        density = f"{sum(densities) / len(densities):.3f}" if densities else "-"
        cells = [ratio(runs[v], base, args.measure) if base and v in runs else "-" for v in values]
        print(f"| {name} | {density} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
