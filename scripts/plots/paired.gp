# Error over that of the first curve at equal density, with intervals over heads:
# cd RUN_DIR/plots && gnuplot -c paired.gp paired svg
name = ARG1
format = ARG2
# a line for each curve, in it a marker for each density
n_places = 0
n_densities = 0
longest = 0
least = 1
most_of_all = 1
baseline = ""
array curve[18]
set datafile columnheaders separator comma
stats "data/".name.".csv" using (p = int(column("place")), curve[p] = strcol("curve"), baseline = strcol("baseline"), \
    n_places = p, longest = strlen(curve[p]) > longest ? strlen(curve[p]) : longest, \
    s = int(column("slot")), n_densities = s > n_densities ? s : n_densities, \
    r = column("lo") == column("lo") ? column("lo") : column("ratio"), r < least ? (least = r) : 0, \
    r = column("hi") == column("hi") ? column("hi") : column("ratio"), r > most_of_all ? (most_of_all = r) : 0, 1) nooutput
deep = n_densities * 11 + 12
tall = 16 + 72 + n_places * (deep > 32 ? deep : 32)
tall = tall < 300 ? 300 : tall
load ARG0[1:strlen(ARG0) - strlen("paired.gp")]."style.gp"
load ARG0[1:strlen(ARG0) - strlen("paired.gp")]."published.gp"

# light is sparse
shades = "#9ecae1 #6baed6 #4292c6 #2171b5 #08519c #08306b"
shade(i) = word(shades, n_shown > 1 ? 1 + (i - 1) * 5 / (n_shown - 1) : 4)
row(i) = column("place") + (n_shown > 1 ? (i - (n_shown + 1) / 2.0) * 0.7 / n_shown : 0)

dense_labels = longest > 30
set lmargin at screen (24 + (dense_labels ? 7.2 : 8.6) * (longest > 50 ? 50 : longest)) / width
axis = "x"; low = least / 1.02; high = most_of_all * 1.02; eval ratio_axis
set yrange [n_places + 0.55:0.45]
set ytics scale 0 () noenhanced
if (dense_labels) { set ytics font small }
do for [p = 1:n_places] { set ytics add (curve[p] p) }
unset grid
set grid xtics linetype 1 linecolor rgb "#e2e2e2" linewidth 0.8
set arrow 1 from first 1, graph 0 to first 1, graph 1 nohead linecolor rgb "#000000" linewidth 1.5 back
set xlabel "error / error of ".baseline noenhanced
set key title "density"
set multiplot
plot for [i = 1:n_shown] data using (of(slot[i], "ratio")):(row(i)):"lo":"hi" with xerrorbars \
         linecolor rgb shade(i) linewidth 2 pointtype 0 notitle, \
     for [i = 1:n_shown] data using (of(slot[i], "ratio")):(row(i)) with points \
         linecolor rgb shade(i) pointtype shape[i] pointsize 1.1 title label[slot[i]]
load ARG0[1:strlen(ARG0) - strlen("paired.gp")]."inset.gp"
unset multiplot
