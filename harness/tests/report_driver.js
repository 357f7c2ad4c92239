/* For test_report.sh, after the page: works it as a reader would and holds what it shows against the data.
 * The verdict takes the page's place. */
(async () => {
    const lines = [];
    function check(name, right, got) {
        const why = right || got === undefined ? "" : `: ${String(got).slice(0, 200)}`;
        lines.push(`${right ? "ok" : "FAIL"} ${name}${why}`);
    }
    const $ = (query, at = document) => at.querySelector(query), $$ = (query, at = document) => [...at.querySelectorAll(query)];
    const wait = ms => new Promise(done => setTimeout(done, ms));
    const until = async test => {
        for (let i = 0; i < 200 && !test(); i++)
            await wait(25);
        return test();
    };
    const press = (node, key) => node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    const column = name => DATA.columns.findIndex(c => c.name === name);
    const get = (i, name) => DATA.records[i][column(name)];
    const field = label => $$("label.field").find(l => !l.hidden && $("span", l).textContent === label);
    const choose = (label, value) => {
        const input = $("select", field(label));
        input.value = value;
        input.dispatchEvent(new Event("change", { bubbles: true }));
    };
    const near = (a, b, off) => Math.abs(a - b) <= off;

    /* ---- everywhere ---- */
    function checkPage() {
        check("nothing of the data became markup", !$("img") && !$("script[src]") && !$$("b").some(b => b.textContent === "\"'&"));
        check("every section is shown", $$("main > section").length === 6 && $$("main > section").every(s => !s.hidden));
        check("the sections are linked", $$("nav a").every(a => $(a.getAttribute("href"))));
        const root = document.scrollingElement;
        const over = $$("body *").filter(n => n.getBoundingClientRect().right > innerWidth && !n.closest(".scroll, nav"));
        check("the page is no wider than the window", root.scrollWidth <= innerWidth,
            `${root.scrollWidth} in ${innerWidth}: ${over.map(n => `${n.tagName}.${n.className}`)}`);
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        let small = "";
        while (texts.nextNode())
            if (texts.currentNode.data.trim() && parseFloat(getComputedStyle(texts.currentNode.parentNode).fontSize) < 14)
                small = texts.currentNode.data;
        check("no text is smaller than 14 pixels", small === "", small);
        const bare = $$("button, select, input, a, [tabindex]").filter(n => n.tabIndex < 0
            || !(n.textContent.trim() || n.getAttribute("aria-label") || n.closest("label, figure, .map, .scroll")));
        check("every control can be reached and has a name", bare.length === 0, bare.map(n => n.outerHTML.slice(0, 60)));
    }

    /* ---- plots ---- */
    function checkPlots() {
        const group = DATA.groups[0], longest = Math.max(...group.lengths);
        const plots = $$("#plots .plot");
        const at = (c, tokens) => group.points.filter(p => p.curve === c && p.tokens === tokens).sort((a, b) => a.density - b.density);
        const shown = group.curves.map((c, i) => i).filter(i => group.curves[i].slot > 0 && at(i, longest).length);
        check("five plots", plots.length === 5 && plots.every(p => $("svg", p)), plots.length);
        check("every chosen curve is drawn", plots.every(p => $$(".curve", p).length === shown.length), $$(".curve", plots[0]).length);

        /* The circles of the first curve lie where its numbers say, whatever the axes. */
        const scales = [["budget", "rel_l2"], ["density", "rel_l2"], ["density", "total_ms"], ["total_ms", "rel_l2"]];
        scales.forEach(([x, y], k) => {
            const dots = $$("circle", $(".curve", plots[k])), points = at(0, longest).sort((a, b) => a[x] - b[x]);
            const log = k !== 2 ? Math.log : v => v;
            const along = (v, p) => (log(p[v]) - log(points[0][v])) / (log(points.at(-1)[v]) - log(points[0][v]));
            const pixel = (a, d) => (d.getAttribute(a) - dots[0].getAttribute(a)) / (dots.at(-1).getAttribute(a) - dots[0].getAttribute(a));
            check(`points of ${y} against ${x}`, dots.length === points.length
                && points.every((p, i) => near(along(x, p), pixel("cx", dots[i]), 0.001) && near(along(y, p), pixel("cy", dots[i]), 0.001)),
                points.map((p, i) => `${along(x, p)} ${pixel("cx", dots[i])}`));
        });
        const ideal = $(".reference[stroke-dasharray]", plots[2]).getAttribute("d").match(/[\d.]+/g).map(Number);
        const dense = $(".reference:not([stroke-dasharray])", plots[2]).getAttribute("d").match(/[\d.]+/g).map(Number);
        const end = Math.max(...shown.flatMap(i => at(i, longest)).map(p => p.density));
        check("ideal is dense times density", near((ideal[1] - ideal[3]) / (ideal[1] - dense[1]), end, 0.01), [ideal, dense, end]);
        const bars = $$(".bar", plots[2]).length;
        check("times have intervals", bars === shown.flatMap(i => at(i, longest)).filter(p => p.total_ms_lo).length, bars);

        const words = () => $(".tip", plots[0]).textContent, first = at(0, longest).sort((a, b) => a.budget - b.budget);
        press(plots[0], "ArrowRight");
        check("a key leads to the first point", words().startsWith(group.curves[0].label)
            && words().includes(`budget${Number(first[0].budget.toPrecision(3))}`), words());
        check("with its time and interval", words().includes(`${Number(first[0].total_ms.toPrecision(3))} ms (`), words());
        press(plots[0], "ArrowRight");
        check("and to the next", words().includes(`budget${Number(first[1].budget.toPrecision(3))}`), words());
        check("which is said aloud", $("[aria-live]", plots[0].parentNode).textContent.includes(String(Number(first[1].rel_l2.toPrecision(3)))));
        const before = words();
        press(plots[0], "ArrowUp");
        check("up leads to another curve", words() !== before && !$(".tip", plots[0]).hidden, words());
        press(plots[0], "Escape");
        check("Escape puts it away", $(".tip", plots[0]).hidden);
        const dot = $("circle", $(".curve", plots[1])).getBoundingClientRect();
        plots[1].dispatchEvent(new PointerEvent("pointermove", { clientX: dot.x + 6, clientY: dot.y + 6, bubbles: true }));
        check("a pointer near a point shows it", !$(".tip", plots[1]).hidden && $(".tip dl", plots[1]).textContent.includes("density"));

        const key = $$("#plots .key button");
        check("a key for each curve", key.length === group.curves.length && key[0].textContent === group.curves[0].label);
        key[1].click();
        check("the key switches a curve off", plots.every(p => $$(".curve", p).length === shown.length - 1)
            && $$("#plots .key button")[1].getAttribute("aria-pressed") === "false");
        check("in the plot by position too", $$("#position .curve").length === shown.length - 1);
        $$("#plots .key button")[1].click();
        check("and on", plots.every(p => $$(".curve", p).length === shown.length));

        choose("Length", String(Math.min(...group.lengths)));
        press(plots[0], "ArrowRight");
        check("the shorter length", words().includes(`tokens${Math.min(...group.lengths)}`), words());
        choose("Length", String(longest));
        choose("Curves", "=uniform");
        check("the curves of one method", $$(".curve", plots[0]).length === 2, $$(".curve", plots[0]).length);
        choose("Curves", "");

        choose("Error", "mass_recall");
        press(plots[0], "ArrowRight");
        const lost = first[0].records.reduce((s, i) => s + (1 - get(i, "mass_recall")) / first[0].records.length, 0);
        check("another measure of error", words().includes(`left out${Number(lost.toPrecision(3))}`), words());
        choose("Error", "rel_l2");
    }

    function checkPosition() {
        const group = DATA.groups[0], longest = Math.max(...group.lengths), plot = $("#position .plot");
        const wanted = Number($("select", $("#position label.field")).value);
        const p = group.points.filter(q => q.curve === 0 && q.tokens === longest)
            .sort((a, b) => Math.abs(Math.log(a.density / wanted)) - Math.abs(Math.log(b.density / wanted)))[0];
        press(plot, "End");
        press(plot, "End");
        const last = Math.exp(p.records.reduce((s, i) => s + Math.log(DATA.series.pos_rel_l2[i].at(-1)) / p.records.length, 0));
        check("error by position, combined over layers", $(".tip", plot).textContent.includes(`error${Number(last.toPrecision(3))}`), $(".tip", plot).textContent);
    }

    /* ---- pattern viewer ---- */
    async function unpack(map) {
        const packed = Uint8Array.from(atob(map.data), c => c.charCodeAt(0));
        const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
        return new Uint8Array(await new Response(stream).arrayBuffer());
    }

    /* Reads the colour in the middle of a cell of a map as it is now: [r, g, b, a]. */
    function reader(canvas) {
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { x, y, k } = canvas.dataset, middle = i => Math.floor((i + 0.5) * k);
        return (r, c) => [...copy.getImageData(Number(x) + middle(c), Number(y) + middle(r), 1, 1).data];
    }

    function named(name) {
        const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        return [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
    }
    const same = (got, rgb) => got[3] === 255 && rgb.every((v, i) => near(v, got[i], 2));

    async function checkViewer() {
        const [left, right] = $$("#viewer canvas");
        check("both maps are drawn", await until(() => left.dataset.record && right.dataset.record));
        const setting = field("Left");
        const picture = canvas => canvas.toDataURL();
        const changed = async (what, act) => {
            const was = [picture(left), picture(right)];
            act();
            check(`${what} changes the map`, await until(() => picture(left) !== was[0]));
            return picture(right) !== was[1];
        };

        await changed("showing kept blocks", () => choose("Show", "kept"));
        const record = Number(left.dataset.record), map = DATA.maps.patterns.find(p => p.record === record);
        const raw = await unpack(map), side = map.side;
        check("a map of every head", raw.length === map.heads * side * side && map.heads === get(record, "heads"), raw.length);
        let live = 0, kept = 0;
        raw.forEach(v => { live += v > 0; kept += v > 1 ? (v - 1) / 254 : 0; });
        check("it keeps what the record's density says", near(kept / live, get(record, "density"), 0.001), kept / live);
        for (const head of [0, map.heads - 1]) {
            choose("Head", String(head));
            await wait(200);
            const pixel = reader(left);
            let off = 0;
            for (let r = side >> 3; r < side; r += 3) /* above stand the names of the axes */
                for (let c = 0; c < side; c += 3) {
                    const v = raw[(head * side + r) * side + c], got = pixel(r, c);
                    off += !(v === 0 ? got[3] === 0 : v === 255 ? same(got, named("--kept1")) : v === 1 ? same(got, named("--dropped0")) : got[3] === 255);
                }
            check(`the map is that of head ${head}`, off === 0, `${off} cells differ`);
        }

        const other = $$("option", setting).map(o => o.value).filter(v => v !== $("select", setting).value).at(-1);
        const moved = await changed("another setting", () => choose("Left", other));
        check("and leaves the other map alone", !moved);
        await changed("another head", () => choose("Head", "1"));
        await changed("the mean of heads", () => choose("Head", "-1"));
        choose("Head", "0");
        for (const mode of ["mass", "missed", "both"])
            await changed(`showing ${mode}`, () => choose("Show", mode));
        await wait(200);
        await checkRow(left, right);
        const inputs = $$("option", field("Input")).map(o => o.value);
        await changed("another input", () => choose("Input", inputs.find(v => v.includes("\n15\n8192"))));
        check("which is of the layer chosen", get(Number(left.dataset.record), "layer") === 15 && get(Number(right.dataset.record), "layer") === 15);
    }

    /* Keys move over the map, and the words under it say what the row keeps and covers. */
    async function checkRow(left, right) {
        const map = DATA.maps.patterns.find(p => p.record === Number(left.dataset.record)), side = map.side;
        const raw = await unpack(map), mass = await unpack(DATA.maps.masses[map.mass]);
        left.focus();
        press(left, "ArrowUp");
        for (let i = 0; i < 10; i++)
            press(left, "ArrowUp");
        press(left, "ArrowRight");
        const r = side - 11, words = $$("p", left.closest(".panel")).map(p => p.textContent);
        let kept = 0, covered = 0, all = 0;
        for (let c = 0; c <= r; c++) {
            const share = Math.max(0, raw[r * side + c] - 1) / 254, m = 10 ** ((mass[r * side + c] - 255) / 51);
            kept += share, covered += share * m, all += m;
        }
        const width = get(map.record, "tokens") / side;
        check("keys name a block", words[0].startsWith(`Queries ${r * width}–${(r + 1) * width - 1}, keys ${width}–${2 * width - 1}:`), words[0]);
        check("the row's blocks are counted", words[1].startsWith(`Row: ${kept} of ${r + 1} blocks kept`), words[1]);
        check("and the mass they cover", words[1].includes(`${Number((100 * covered / all).toPrecision(3))} % of the mass`), `${words[1]} ${covered / all}`);
        check("it is said aloud", $(".panel [aria-live]").textContent.includes("Row:"));
        check("the other map shows the same block", $("p", right.closest(".panel")).textContent.startsWith(words[0].split(":")[0]));
        press(left, "Escape");
        check("Escape goes back to all rows", $("p", left.closest(".panel")).textContent.startsWith("All rows"));

        /* Of dropped blocks, those with more mass are darker (on white). */
        const gone = [...Array(r + 1).keys()].filter(c => raw[r * side + c] === 1).sort((a, b) => mass[r * side + a] - mass[r * side + b]);
        const pixel = reader(left), light = c => pixel(r, c).slice(0, 3).reduce((s, v) => s + v, 0);
        check("dropped mass is visible", light(gone[0]) > light(gone.at(-1)) + 20, [light(gone[0]), light(gone.at(-1))]);
    }

    /* ---- table ---- */
    const cells = () => $$("#records tbody tr.row").map(r => Number($("button", r).getAttribute("aria-label").match(/\d+$/)));
    const header = name => $$("#records th").find(th => $("button", th).firstChild.data === name);

    function ask(text) {
        const input = $("#records input[type=search]");
        input.value = text;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        return $("#records [aria-live]").textContent;
    }

    function checkSort(name) {
        const all = DATA.records.map((_, i) => i), v = i => get(i, name);
        const last = (a, b) => (v(a) === null) - (v(b) === null);
        const order = sign => [...all].sort((a, b) => last(a, b) || (v(a) === null ? 0 : sign * (v(a) - v(b)))).map(i => get(i, "cell"));
        for (const [sign, word] of [[1, "ascending"], [-1, "descending"]]) {
            $("button", header(name)).click();
            if (!$("#records > button").hidden)
                $("#records > button").click();
            check(`sorted by ${name}, ${word}`, header(name).getAttribute("aria-sort") === word && String(cells()) === String(order(sign)), cells());
        }
    }

    async function checkTable() {
        const n = DATA.records.length, most = 100;
        check("the first hundred records", cells().length === Math.min(n, most), cells().length);
        $("#records > button").click();
        check("and the rest on demand", cells().length === n && $("#records > button").hidden, cells().length);
        checkSort("rel_l2");
        checkSort("select_ms"); /* has missing ones */
        checkSort("layer"); /* has equal ones */
        const count = test => DATA.records.filter((_, i) => test(i)).length;
        const few = count(i => get(i, "method") === "stem" && get(i, "density") < 0.3 && get(i, "layer") === 2);
        check("filtered by columns", ask("method=stem density<0.3 layer=2") === `${few} of ${n} records` && cells().length === few && few > 0, cells().length);
        check("filtered by text", ask("mu=0.7").startsWith(`${count(i => get(i, "params").includes("mu=0.7"))} of`), ask("mu=0.7"));
        check("filtered by part of a column", ask("method~ORM").startsWith(`${count(i => get(i, "method").includes("orm"))} of`));
        check("nothing found", ask("no such words").startsWith("0 of"));
        check("a comparison with no number is pointed out", ask("density<abc").includes("not a number")
            && $("#records input[type=search]").getAttribute("aria-invalid") === "true");
        ask("cell=2");
        $("#records tr.row button").click();
        const facts = $("#records .details").textContent;
        check("a row opens", DATA.columns.every(c => [null, ""].includes(get(2, c.name)) || facts.includes(c.name))
            && facts.includes(get(2, "params")), facts);
        const bars = $$("rect", $("#records .heads"));
        check("with bars of its heads", $$("#records .heads").length === 2 && bars.length === get(2, "heads"));
        const heads = DATA.series.head_rel_l2[2];
        check("as tall as their errors", near(bars[0].getAttribute("height") / bars[1].getAttribute("height"), heads[0] / heads[1], 0.02));
        $("#records tr.row").click();
        check("and closes", !$("#records .details"));
        const columns = $$("#records thead th").length;
        $("#records .chooser input[value=kernel]").click();
        check("a column is added", $$("#records thead th").length === columns + 1 && header("kernel"));
        $("#records .chooser input[value=params]").click();
        ask("layer=2");
        $$("#records button").find(b => b.textContent === "Copy as CSV").click();
        await wait(50);
        const csv = copied.trim().split("\n");
        check("rows are copied as CSV", csv[0].startsWith("cell,curve,")
            && csv.length === 1 + count(i => get(i, "layer") === 2) && csv.some(line => line.includes("\"\"'&\"")), csv.length);
        $$("#provenance button").find(b => b.textContent.includes("config")).click();
        await wait(50);
        check("the config is copied", copied === $("#config").textContent && copied.includes("methods:"));
    }

    async function checkWay() {
        ask("method=stem tokens=2048 layer=2");
        $("#records tr.row").click();
        const record = DATA.records.findIndex((_, i) => get(i, "cell") === cells()[0]);
        $("#records .details button").click();
        check("from a record to its pattern", await until(() => Number($("#viewer canvas").dataset.record) === record), $("#viewer canvas").dataset.record);
    }

    try {
        await until(() => $$("#viewer canvas").every(c => c.dataset.record));
        await wait(200);
        checkPage();
        if (innerWidth > 1000) {
            checkPlots();
            checkPosition();
            await checkViewer();
            await checkTable();
            await checkWay();
        } else {
            check("the window is as narrow as a phone", innerWidth === 390, innerWidth);
            const paper = getComputedStyle(document.body).backgroundColor;
            check("dark where the reader wants it dark", paper === "rgb(21, 24, 28)", paper);
        }
        await wait(200);
        check("nothing went wrong", wrong.length === 0, wrong.join("; "));
    } catch (error) {
        check("the driver runs through", false, `${error.message} ${error.stack}`);
    }
    lines.push("ok finished");
    parent.postMessage(lines, "*"); /* in a frame, the verdict is the window's */
    document.documentElement.replaceChildren(Object.assign(document.createElement("body"), { textContent: `\n${lines.join("\n")}\n` }));
})();
