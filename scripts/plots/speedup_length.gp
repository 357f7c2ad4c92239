# Speedup over dense, and what selection takes, against length: cd RUN_DIR/plots && gnuplot -c speedup_length.gp speedup_length svg
name = ARG1
format = ARG2
tall = 620
load ARG0[1:strlen(ARG0) - strlen("speedup_length.gp")]."style.gp"
load ARG0[1:strlen(ARG0) - strlen("speedup_length.gp")]."published.gp"

stats data using "tokens" nooutput name "x"
stats data using (column("speedup_lo") == column("speedup_lo") ? column("speedup_lo") : column("speedup")) nooutput name "bottom"
stats data using (column("speedup_hi") == column("speedup_hi") ? column("speedup_hi") : column("speedup")) nooutput name "top"
stats data using "select_share" nooutput name "z"
set lmargin at screen 88.0 / width
set rmargin at screen 0.64
set logscale x 2
low = lesser(x_min, mark_x_min) / 1.15; high = greater(x_max, mark_x_max) * 1.15; eval mark_sides
set xrange [low:high]
set xtics ()
do for [e = 6:20] { eval sprintf('set xtics add ("%s" %d)', e < 10 ? sprintf("%d", 2**e) : sprintf("%dK", 2**(e - 10)), 2**e) }
unset key
set multiplot
set bmargin at screen below(270)
axis = "y"; low = (bottom_min < 1 ? bottom_min : 1) / 1.3; high = (top_max > 1 ? top_max : 1) * 1.3; eval log_axis
set ylabel "speedup over dense"
plot 1 with lines linecolor rgb "#000000" linewidth 1.5 dashtype solid, \
     for [i = 1:n_shown] data using "tokens":(of(slot[i], "speedup")):"speedup_lo":"speedup_hi" \
         with yerrorbars linecolor rgb colour[slot[i]] linewidth 1.5 dashtype solid pointtype shape[slot[i]] \
         pointsize 0.1, \
     for [i = 1:n_shown] data using "tokens":(of(slot[i], "speedup")) with linespoints linetype slot[i]
unset label
unset arrow
unset logscale y
unset mytics
set tmargin at screen below(240)
set bmargin at screen below(72)
set ytics auto nomirror textcolor rgb ink
set yrange [0:(z_max > 0 ? z_max * 1.15 : 1)]
set ylabel "selection, % of both"
set xlabel "length, tokens"
plot for [i = 1:n_shown] data using "tokens":(of(slot[i], "select_share")) with linespoints linetype slot[i]
# the key in a plot of its own, as it can be longer than a panel
set tmargin at screen 1 - 16.0 / height
set border 0
unset tics
unset grid
unset xlabel
unset ylabel
set key at screen 0.66, screen 1 - 16.0 / height top left Left reverse font small
plot NaN with lines linecolor rgb "#000000" linewidth 1.5 dashtype solid title "dense", \
     for [i = 1:n_shown] NaN with linespoints linetype slot[i] title label[slot[i]], \
     for [r = 1:n_runs] NaN with linespoints linetype dense + r title run[r]
set border 3 linecolor rgb faint
set tics nomirror textcolor rgb ink
unset key
load ARG0[1:strlen(ARG0) - strlen("speedup_length.gp")]."inset.gp"
unset multiplot
