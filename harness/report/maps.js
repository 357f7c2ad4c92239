/* Maps of attention mass and of kept blocks, as the file carries them. */
(() => {
    const MEAN = -1; /* in place of a head: the mean over them */
    const bytes = new Map(); /* of each map once asked for, as readers go back and forth */

    /* Decompress a map: u8 [heads][side][side]. */
    function decode(map) {
        if (!bytes.has(map)) {
            const packed = Uint8Array.from(atob(map.data), c => c.charCodeAt(0));
            const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
            bytes.set(map, new Response(stream).arrayBuffer().then(buffer => new Uint8Array(buffer)));
        }
        return bytes.get(map);
    }

    /* value(byte) of one head, or the mean over heads: Float64 [side * side]. */
    function plane(map, raw, head, value) {
        const n = map.side ** 2, out = new Float64Array(n);
        const first = head === MEAN || head >= map.heads ? 0 : head, last = head === MEAN ? map.heads - 1 : first;
        for (let h = first; h <= last; h++)
            for (let i = 0; i < n; i++)
                out[i] += value(raw[h * n + i]) / (last - first + 1);
        return out;
    }

    const massOf = v => v > 0 ? 10 ** ((v - 255) / 51) : 0;
    const level = mass => Math.max(0, Math.min(1, (254 + 51 * Math.log10(mass)) / 254)); /* place on the colour scale */

    /* Join the cells of a mass of `from` cells a side into `to`: sums over keys, means over queries. */
    function join(mass, from, to) {
        if (from === to)
            return mass;
        const out = new Float64Array(to * to), cell = i => Math.floor((i + 0.5) * to / from), rows = new Float64Array(to);
        for (let r = 0; r < from; r++) {
            rows[cell(r)]++;
            for (let c = 0; c < from; c++)
                out[cell(r) * to + cell(c)] += mass[r * from + c];
        }
        return out.map((v, i) => v / rows[Math.floor(i / to)]);
    }

    /* What is shown of a pattern: { side, live: 1 at and below the diagonal, share: kept, mass: share of the row or null }. */
    async function load(maps, pattern, head) {
        const raw = await decode(pattern), source = maps.masses[pattern.mass];
        const share = plane(pattern, raw, head, v => v > 1 ? (v - 1) / 254 : 0);
        const live = plane(pattern, raw, 0, v => v > 0 ? 1 : 0);
        const mass = source && source.side >= pattern.side
            ? join(plane(source, await decode(source), head, massOf), source.side, pattern.side) : null;
        return { side: pattern.side, live, share, mass };
    }

    /* Of row r: causal cells, kept ones, mass kept of all of it, and the cell with the most dropped mass. */
    function rowOf(view, r) {
        const row = { all: 0, kept: 0, covered: null, missed: 0, at: -1 };
        let mass = 0, kept = 0;
        for (let c = 0; c < view.side; c++) {
            const i = r * view.side + c, m = view.mass ? view.mass[i] : 0;
            row.all += view.live[i];
            row.kept += view.share[i];
            mass += m;
            kept += m * view.share[i];
            if (m * (1 - view.share[i]) > row.missed)
                row.missed = m * (1 - view.share[i]), row.at = c;
        }
        if (mass > 0)
            row.covered = kept / mass, row.missed /= mass;
        return row;
    }

    report.maps = { MEAN, level, load, rowOf };
})();
