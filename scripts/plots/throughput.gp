# Throughput and conversion against density, a column of panels for each capture and dtype:
# cd RUN_DIR/plots && gnuplot -c throughput.gp throughput svg
name = ARG1
format = ARG2
tall = 620
load ARG0[1:strlen(ARG0) - strlen("throughput.gp")]."style.gp"

# Colours are lengths; lines and markers are methods (style 1 to 4). Dense is style 0, a peer style 5.
array title[4]
array roof[4]
array method[5]
array marker[4] = [7, 4, 9, 12]
set dashtype 2 (9, 4)
set dashtype 3 (2, 3)
set dashtype 4 (9, 4, 2, 4)
n_panels = 0
n_styles = 0
has_peer = 0
has_roof = 0
top = 0
c_min = 0.9
c_max = 1
stats data using (p = int(column("panel")), n_panels = p > n_panels ? p : n_panels, \
    title[p] = strcol("title"), roof[p] = column("roof"), roof[p] > top ? (top = roof[p], has_roof = 1) : 0, \
    k = int(column("style")), k > 0 ? (method[k] = strcol("curve"), 0) : 0, \
    k < 5 && k > n_styles ? (n_styles = k) : 0, k == 5 ? (has_peer = 1) : 0, c = column("conversion"), \
    c < c_min ? (c_min = c) : 0, c > c_max ? (c_max = c) : 0) nooutput
stats data using "density" nooutput name "x"
stats data using "gflops" nooutput name "y"
top = top > y_max ? top : y_max
# GFLOP/s of a CPU, TFLOP/s of a GPU
unit = top > 2e4 ? 1e3 : 1
top = top / unit
y_min = y_min / unit
rate(y) = y / unit
at(p, s, k, y) = column("panel") == p && column("slot") == s && column("style") == k ? column(y) : NaN

left = 90.0
right = 246.0
gap = 66.0
across = (width - left - right - gap * (n_panels - 1)) / n_panels
edge(p) = (left + (p - 1) * (across + gap)) / width
axis = "x"; low = x_min < 0.05 ? x_min / 1.1 : 0.045; high = 1.25; eval log_axis
unset key
# a build's suffix ("+cpu") only widens the key
peer = has_peer ? method[5] : ""
peer = strstrt(peer, "+") ? peer[1:strstrt(peer, "+") - 1] : peer

set multiplot
do for [p = 1:n_panels] {
    set lmargin at screen edge(p)
    set rmargin at screen edge(p) + across / width

    set tmargin at screen 1 - 34.0 / height
    set bmargin at screen below(290)
    set title title[p] offset 0, -0.5
    set xlabel ""
    set ylabel (p == 1 ? (unit > 1 ? "TFLOP/s of attend" : "GFLOP/s of attend") : "") offset 0.3, 0
    axis = "y"; low = y_min / 1.3; high = top * 1.5; eval log_axis
    if (roof[p] == roof[p]) {
        set label 1 sprintf("peak %.0f", rate(roof[p])) at graph 0.08, first rate(roof[p]) * 1.02 offset 0, 0.6 \
            left font small textcolor rgb ink
    }
    if (p == 1) { set key at screen 1 - (right - 8) / width, screen 1 - 30.0 / height top left Left reverse font small }
    plot rate(roof[p]) with lines linecolor rgb "#000000" linewidth 1.5 dashtype (8, 5) notitle, \
         for [k = 1:n_styles] for [i = 1:n_shown] \
             data using "density":(rate(at(p, slot[i], k, "gflops"))) with lines \
             linecolor rgb colour[slot[i]] linewidth 1.6 dashtype k notitle, \
         for [k = 1:n_styles] for [i = 1:n_shown] \
             data using "density":(column("density") < 1 ? rate(at(p, slot[i], k, "gflops")) : NaN) with points \
             linecolor rgb colour[slot[i]] linewidth 1.6 pointtype marker[k] pointsize 0.9 notitle, \
         for [i = 1:n_shown] data using "density":(rate(at(p, slot[i], 0, "gflops"))) with points \
             linecolor rgb colour[slot[i]] linewidth 2 pointtype 2 pointsize 1.1 notitle, \
         for [i = 1:n_shown] data using "density":(rate(at(p, slot[i], 5, "gflops"))) with points \
             linecolor rgb colour[slot[i]] linewidth 2 pointtype 10 pointsize 1.2 notitle, \
         for [i = 1:n_shown] NaN with lines linecolor rgb colour[slot[i]] linewidth 4 dashtype solid title label[slot[i]], \
         for [k = 1:n_styles] NaN with linespoints linecolor rgb ink linewidth 1.6 dashtype k \
             pointtype marker[k] pointsize 0.9 title method[k], \
         NaN with points linecolor rgb ink linewidth 2 pointtype 2 pointsize 1.1 title "dense", \
         NaN with points linecolor rgb ink linewidth 2 pointtype 10 pointsize 1.2 \
             title (has_peer ? peer." dense" : ""), \
         NaN with lines linecolor rgb "#000000" linewidth 1.5 dashtype (8, 5) title (has_roof ? "peak of the unit" : "")
    unset key
    unset label 1
    unset label 99

    set tmargin at screen below(250)
    set bmargin at screen below(72)
    set title ""
    unset logscale y
    unset ytics
    set ytics 0.1 nomirror textcolor rgb ink
    set yrange [c_min - 0.05:c_max + 0.08]
    set xlabel "density: kept / all causal blocks"
    set ylabel (p == 1 ? "conversion" : "") offset 0.3, 0
    set label 1 "0.95" at graph 1.015, first 0.95 left font small textcolor rgb faint
    plot 1 with lines linecolor rgb "#000000" linewidth 1.5 notitle, \
         0.95 with lines linecolor rgb faint linewidth 1.5 dashtype (2, 3) notitle, \
         for [k = 1:n_styles] for [i = 1:n_shown] \
             data using "density":(at(p, slot[i], k, "conversion")) with lines \
             linecolor rgb colour[slot[i]] linewidth 1.6 dashtype k notitle, \
         for [k = 1:n_styles] for [i = 1:n_shown] \
             data using "density":(column("density") < 1 ? at(p, slot[i], k, "conversion") : NaN) with points \
             linecolor rgb colour[slot[i]] linewidth 1.6 pointtype marker[k] pointsize 0.9 notitle
    unset label
}
unset multiplot
