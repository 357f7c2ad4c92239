#!/usr/bin/env python3
"""The run directory of model_loop.py: results.csv with the harness's columns, residual.csv, positions.csv, provenance.

As a program it puts the parts of a run (model_loop.py --part) together: model_records.py DIR PART_DIR...
"""
import csv
import datetime
import hashlib
import math
import os
import platform
import re
import shutil
import subprocess
import sys

import numpy as np

from stem_capture import CaptureError, run_main

HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = 16  # of the measured positions, in positions.csv


def standard_columns():
    """The columns of results.csv, from the one place that defines them."""
    with open(os.path.join(HERE, "..", "harness", "results.def"), encoding="utf-8") as file:
        return re.findall(r"^SB_COLUMN\(\w+, (\w+)\)", file.read(), re.M)


def written(value):
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else f"{value:.9g}"
    return value


def tables(n_layers):
    """Columns of each table; residual and positions have the rows of task text alone."""
    parts = [f"{name}_{i}" for name in ("kl", "top1") for i in range(PARTS)]
    return {"residual.csv": ["cell"] + [f"layer_{i}" for i in range(n_layers)], "positions.csv": ["cell"] + parts,
            "results.csv": standard_columns()}


class Results:
    """The run directory: a row is finished once it is in results.csv, which is written last.

    `provenance` has a line "of: HASH" that says what is run; a directory of something else is refused.
    """

    def __init__(self, directory, config, provenance, n_layers):
        os.makedirs(directory, exist_ok=True)
        self.directory, self.tables = directory, tables(n_layers)
        path = os.path.join(directory, "provenance.yaml")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                if re.findall("^of: .*$", file.read(), re.M) != re.findall("^of: .*$", provenance, re.M):
                    raise CaptureError(f"{directory}: holds a run of another config, model or texts; "
                                       "remove it or take another --out", 2)
        else:
            shutil.copyfile(config, os.path.join(directory, "config.yaml"))
            with open(path, "w", encoding="utf-8") as file:
                file.write(provenance)
        done = self._heal("results.csv", None)
        self.done = {int(row["cell"]) for row in done}
        for name in ("residual.csv", "positions.csv"):
            self._heal(name, self.done)

    def _heal(self, name, done):
        """Read a table; drop a line that a kill left unfinished, and lines of unfinished cells."""
        path, columns = os.path.join(self.directory, name), self.tables[name]
        if not os.path.exists(path):
            self._write(name, [dict(zip(columns, columns))], "w")
            return []
        with open(path, newline="", encoding="utf-8") as file:
            text = file.read()
        rows = list(csv.DictReader(text[:text.rfind("\n") + 1].splitlines()))
        rows = [row for row in rows if None not in row.values() and (done is None or int(row["cell"]) in done)]
        self._write(name, [dict(zip(columns, columns))] + rows, "w", path + ".tmp")
        os.replace(path + ".tmp", path)
        return rows

    def _write(self, name, rows, mode, path=None):
        with open(path or os.path.join(self.directory, name), mode, newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.tables[name], restval="", lineterminator="\n").writerows(rows)
            file.flush()
            os.fsync(file.fileno())

    def append(self, cell, row, errors, parts):
        def line(name, values):
            return dict(zip(self.tables[name], [cell] + [f"{x:.4g}" for x in values]))
        if len(errors):
            self._write("residual.csv", [line("residual.csv", errors)], "a")
        if len(parts):
            self._write("positions.csv", [line("positions.csv", parts)], "a")
        self._write("results.csv", [{name: written(value) for name, value in {**row, "cell": cell}.items()}], "a")
        self.done.add(cell)


def harness_version():
    """(version, commit) of the library's build."""
    library = os.environ.get("STEMBENCH_LIBRARY", os.path.join(HERE, "..", "build", "libstembench.so"))
    program = os.path.join(os.path.dirname(library), "stembench")
    text = subprocess.run([program, "--version"], capture_output=True, text=True).stdout if os.path.exists(program) else ""
    match = re.match(r"stembench (\S+) \(commit (.*)\)", text)
    return match.groups() if match else ("unknown", "unknown")


def provenance(engine, args, config):
    """What made the results, in the form of the harness's own provenance, and a hash of what is run."""
    version, commit = harness_version()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    lines = {"stembench": version, "commit": commit, "python": platform.python_version(), "numpy": np.__version__,
             "os": f"{platform.system()} {platform.machine()}", "cpu": f'"{cpu.group(1) if cpu else "unknown"}"',
             "cores": os.cpu_count(), "threads": len(os.sched_getaffinity(0)),
             "positions": config.get("positions", "all")}
    if engine.backend != "cpu":
        import transformers
        lines.update(torch=engine.torch.__version__, transformers=transformers.__version__)
    if engine.backend == "cuda":
        lines["gpu"] = f'"{engine.torch.cuda.get_device_name()}"'
    with open(args.model, "rb") as file:
        lines["model_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    for i, (path, offset) in enumerate(args.texts):
        lines[f"text_{i}"] = f'"{os.path.basename(path)}:{offset}"'
    what = [repr(config), engine.backend, *(value for name, value in lines.items() if name.startswith(("model", "text")))]
    lines["of"] = hashlib.sha256("\n".join(what).encode()).hexdigest()[:16]
    lines["utc"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return "".join(f"{name}: {value}\n" for name, value in lines.items())


def merge(directory, parts):
    """Put the rows of parts together in order of cells. They must be of one config, model, texts and commit."""
    os.makedirs(directory, exist_ok=True)
    lines = []
    for part in parts:
        with open(os.path.join(part, "provenance.yaml"), encoding="utf-8") as file:
            text = file.read()
        lines.append(re.findall("^(?:of|commit|gpu|cpu|text_.*|model_sha256): .*$", text, re.M))
        if lines[-1] != lines[0]:
            raise CaptureError(f"{part}: of another run than {parts[0]}")
    for name in ("config.yaml", "provenance.yaml"):
        shutil.copyfile(os.path.join(parts[0], name), os.path.join(directory, name))
    for name in ("results.csv", "residual.csv", "positions.csv"):
        rows, columns = {}, standard_columns() if name == "results.csv" else None
        for part in parts:
            with open(os.path.join(part, name), newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                columns = columns or reader.fieldnames
                rows.update((int(row["cell"]), row) for row in reader)
        with open(os.path.join(directory, name), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for _, row in sorted(rows.items()))


def main():
    if len(sys.argv) < 3:
        raise CaptureError("usage: model_records.py DIR PART_DIR...", 2)
    merge(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    run_main(main)
