#!/usr/bin/env bash
# The HTML report of the committed quick run in headless Chromium: it stands alone, draws without a word on the console, and its
# plots, pattern viewer and table show what the file's data say. Skipped (77) without Chromium.
# usage: test_report.sh PROGRAM SOURCE_DIR [REPORT.html: drive this one, made before, instead]
set -u
program=$1 source_dir=$2 made=${3:-}
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
    echo "skipped: no chromium"
    exit 77
}
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() {
    echo "FAIL $*"
    failed=$((failed + 1))
}

# ---- the file ---------------------------------------------------------------------------------------------
report=$tmp/quick/report.html
mkdir "$tmp/quick"
if [ -n "$made" ]; then
    cp "$made" "$report"
else
    cp "$source_dir"/results/reference/quick/{config.yaml,results.csv,results.h5} "$tmp/quick"
    cd "$source_dir" || exit 1 # where the run's capture is found
    "$program" report "$tmp/quick" >"$tmp/out.txt" 2>&1 || { cat "$tmp/out.txt"; exit 1; }
fi
[ "$(wc -c <"$report")" -lt 5000000 ] || fail "the report has 5 MB or more"
grep -q "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';" "$report" || fail "no policy that keeps the network out"
sed '/id="data">$/,/^<\/script>$/d' "$report" >"$tmp/page.html"
loads='(src|href|action|data|poster|srcset)="?(https?:|//)|@import|url\((https?:|"|//)|import\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon'
grep -Eo "$loads" "$tmp/page.html" && fail "it refers to the network"
grep -En 'innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function' "$tmp/page.html" &&
    fail "a script makes markup or code of text"

# ---- the page, driven by report_driver.js --------------------------------------------------------------------
awk -v before="$here/report_before.js" -v driver="$here/report_driver.js" '
    function script(file,   text) {
        print "<script>"
        while ((getline text < file) > 0) print text
        print "</script>"
    }
    $0 == "<script>" { script(before) }
    $0 == "</body>" { script(driver) }
    { print }' "$report" >"$tmp/desktop.html"
# A window has no width of a phone, but a frame may.
cat >"$tmp/phone.html" <<'HTML'
<!doctype html>
<iframe src="desktop.html" width="390" height="844" style="border: 0"></iframe>
<script>
addEventListener("message", event => { document.body.textContent = `\n${event.data.join("\n")}\n`; });
</script>
HTML

# drive NAME [OPTION]...: lets the driver work NAME.html and judges what it found.
drive() {
    local name=$1
    shift
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --no-first-run --user-data-dir="$tmp/profile" --window-size=1280,1000 \
        --virtual-time-budget=60000 --enable-logging=stderr --dump-dom "$@" "file://$tmp/$name.html" >"$tmp/$name.txt" 2>"$tmp/$name.log"
    grep '^FAIL' "$tmp/$name.txt" && fail "$name"
    grep -q '^ok finished' "$tmp/$name.txt" || { fail "$name: the driver did not finish"; tail -5 "$tmp/$name.log"; }
    grep 'CONSOLE' "$tmp/$name.log" && fail "$name: words on the console"
    echo "$name: $(grep -c '^ok' "$tmp/$name.txt") checks hold"
}
drive desktop
drive phone --blink-settings=preferredColorScheme=0

# ---- a model in the loop, of which there is a CSV alone --------------------------------------------------------
mkdir "$tmp/model"
awk 'BEGIN {
    print "cell,status,method,params,model,tokens,dtype,backend,task,text,setting,density,flops_dense,flops_attend,flops_select,logit_kl,top1,ppl"
    for (text = 0; text < 4; text++)
        for (mu = 1; mu <= 3; mu++)
            for (total = 1; total <= 2; total++)
                printf "%d,ok,stem,mu=0.%d schedule.total=0.%d,M,4096,bf16,cpu,text,t%d,all,.%d,100,%d,1,%g,.9,12\n",
                    n++, mu, total, text, total, 10 * total, mu / total / (text + 1)
}' >"$tmp/model/results.csv"
"$program" report "$tmp/model" >"$tmp/out.txt" 2>&1 || fail "a report of a CSV: $(cat "$tmp/out.txt")"
timeout 120 "$browser" --headless --no-sandbox --disable-gpu --no-first-run --user-data-dir="$tmp/profile" --enable-logging=stderr \
    --virtual-time-budget=10000 --dump-dom "file://$tmp/model/report.html" >"$tmp/model.txt" 2>"$tmp/model.log"
grep 'CONSOLE' "$tmp/model.log" && fail "a model in the loop: words on the console"
for text in '24 of 24 records' 'KL(dense, method), nats' 'share of first choices that differ' 'aria-pressed="true"' '>logit_kl<' \
    'geometric mean over texts; all else'; do
    sed '/id="data">$/,/^<\/script>$/d; /^<script>$/,/^<\/script>$/d' "$tmp/model.txt" | grep -qF "$text" || fail "a model in the loop: no '$text' on the page"
done
[ $failed = 0 ]
