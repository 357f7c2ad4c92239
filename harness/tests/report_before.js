/* For test_report.sh, before the script of the page: collects what goes wrong, and makes the data harder. */
const wrong = [];
addEventListener("error", e => wrong.push(`error: ${e.message} at ${e.lineno}`));
addEventListener("unhandledrejection", e => wrong.push(`rejection: ${e.reason}`));
for (const level of ["error", "warn"])
    console[level] = (...words) => wrong.push(`console.${level}: ${words.join(" ")}`);

let copied = "";
Object.defineProperty(navigator, "clipboard", { value: { writeText: async text => { copied = text; } } });

/* Texts that would be markup, and numbers that are missing, some in every column order. */
const DATA = (() => {
    const data = JSON.parse(document.getElementById("data").textContent);
    const column = name => data.columns.findIndex(c => c.name === name);
    for (const i of [7, 3, 90])
        data.records[i][column("select_ms")] = null;
    const hostile = "<img src=x onerror=alert(1)><\/script><b>\"'&";
    data.records[1][column("params")] += ` ${hostile}`;
    data.records[2][column("reason")] = hostile;
    data.groups[0].curves[0].label += hostile;
    data.groups[0].points[0].params += hostile;
    data.maps.note = hostile;
    data.name = hostile;
    document.getElementById("data").textContent = JSON.stringify(data);
    return data;
})();
