/* Puts the page together from the data that the file carries. */
(() => {
    const { el, copy } = report.kit;
    const at = id => document.getElementById(id);

    /* What the parts read: the data, and the value of a column in a record. */
    function open() {
        const data = JSON.parse(at("data").textContent);
        const column = new Map(data.columns.map((c, i) => [c.name, i]));
        const get = (i, name) => data.records[i][column.get(name)] ?? (data.columns[column.get(name)]?.kind === "text" ? "" : null);
        return { data, get, hasPattern: () => false, showPattern: null };
    }

    function lead(run) {
        const n = run.data.records.length;
        const failed = run.data.records.filter((_, i) => run.get(i, "status") !== "ok").length;
        const count = `${n} ${n === 1 ? "record" : "records"}${failed ? `, ${failed} of them not ok` : ""}`;
        const what = [...run.data.groups.map(g => g.title), count, run.data.version];
        at("what").textContent = what.filter(Boolean).join(" · ");
    }

    function offerConfig() {
        const config = at("config");
        if (config) {
            const button = el("button", { type: "button", onclick: () => copy(config.textContent, button, config) }, "Copy the config");
            config.before(button);
            config.tabIndex = 0;
        }
    }

    const run = open();
    lead(run);
    offerConfig();
    report.plots.build(run, at("plots"), at("position"));
    report.viewer.build(run, at("viewer"));
    report.table.build(run, at("records"));
    for (const link of document.querySelectorAll("nav a"))
        link.hidden = at(link.hash.slice(1)).hidden;
})();
