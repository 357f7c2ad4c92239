"use strict";
/* What the parts of the page share. Data reaches the document as text nodes and attributes only. */
const report = {};
(() => {
    const SVG = "http://www.w3.org/2000/svg";

    function fill(node, attributes, children) {
        for (const [name, value] of Object.entries(attributes || {})) {
            if (name.startsWith("on"))
                node.addEventListener(name.slice(2), value);
            else if (value === true)
                node.setAttribute(name, "");
            else if (value !== false && value !== null && value !== undefined)
                node.setAttribute(name, value);
        }
        node.append(...children.filter(c => c !== null && c !== undefined));
        return node;
    }

    /* An element with attributes (`onclick`: a listener; true, false: a bare one, none) and children. */
    const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
    const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

    /* A number to `digits` significant digits; "-" for none. */
    function num(v, digits = 4) {
        if (v === null || v === undefined || Number.isNaN(v))
            return "-";
        if (typeof v !== "number")
            return String(v);
        const size = Math.abs(v);
        if (size >= 1e6 || (size > 0 && size < 1e-4))
            return v.toExponential(digits - 1).replace(/\.?0+e/, "e");
        if (Number.isInteger(v) || size >= 10 ** digits)
            return String(Math.round(v));
        return String(Number(v.toPrecision(digits)));
    }

    const tokens = n => n >= 1024 && n % 256 === 0 ? n / 1024 + "K" : String(n);

    /* A labelled select of [value, text, group] choices. `set` refills it and keeps the choice if it is still there. */
    function select(label, onchange) {
        const input = el("select", { onchange: () => onchange(input.value) });
        const box = el("label", { class: "field" }, el("span", {}, label), input);
        function set(choices, wanted) {
            const had = wanted === undefined ? input.value : String(wanted);
            const groups = new Map();
            input.replaceChildren();
            for (const [value, text, group] of choices) {
                let home = input;
                if (group) {
                    if (!groups.has(group))
                        groups.set(group, input.appendChild(el("optgroup", { label: group })));
                    home = groups.get(group);
                }
                home.append(el("option", { value }, text));
            }
            if (choices.some(c => String(c[0]) === had))
                input.value = had;
            box.hidden = choices.length < 2;
        }
        return { box, input, set };
    }

    /* Put text on the clipboard, where scripts of a file may, else by selecting `node`; say so on the button. */
    async function copy(text, button, node) {
        const was = button.textContent;
        let done = "Copied";
        try {
            await navigator.clipboard.writeText(text);
        } catch {
            getSelection().selectAllChildren(node);
            done = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
        }
        button.textContent = done;
        setTimeout(() => { button.textContent = was; }, 2000);
    }

    /* Mean over the values; geometric where `log`. null where one is missing. */
    function mean(values, log) {
        if (!values.length || values.some(v => v === null || v === undefined || (log && v <= 0)))
            return null;
        const sum = values.reduce((s, v) => s + (log ? Math.log(v) : v), 0) / values.length;
        return log ? Math.exp(sum) : sum;
    }

    report.kit = { el, svg, num, tokens, select, copy, mean };
})();
