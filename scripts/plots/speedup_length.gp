# Speedup over dense, and what selection takes, against length: cd RUN_DIR/plots && gnuplot -c speedup_length.gp speedup_length svg
name = ARG1
format = ARG2
tall = 620
load ARG0[1:strlen(ARG0) - strlen("speedup_length.gp")]."style.gp"

stats data using "tokens" nooutput name "x"
stats data using "speedup" nooutput name "y"
stats data using "select_share" nooutput name "z"
set lmargin at screen 76.0 / width
set rmargin at screen 0.64
set logscale x 2
set xrange [x_min / 1.15:x_max * 1.15]
set xtics ()
do for [e = 6:20] { eval sprintf('set xtics add ("%s" %d)', e < 10 ? sprintf("%d", 2**e) : sprintf("%dK", 2**(e - 10)), 2**e) }
set key at screen 0.66, screen 1 - 16.0 / height top left Left reverse font small
set multiplot
set bmargin at screen below(270)
axis = "y"; low = (y_min < 1 ? y_min : 1) / 1.3; high = (y_max > 1 ? y_max : 1) * 1.3; eval log_axis
set ylabel "speedup over dense"
plot 1 with lines linecolor rgb "#000000" linewidth 1.5 title "dense", \
     for [i = 1:n_shown] data using "tokens":(of(slot[i], "speedup")) \
         with linespoints linetype slot[i] title label[slot[i]]
unset label 99
unset key
unset logscale y
unset mytics
set tmargin at screen below(240)
set bmargin at screen below(72)
set ytics auto nomirror textcolor rgb ink
set yrange [0:(z_max > 0 ? z_max * 1.15 : 1)]
set ylabel "selection, % of both"
set xlabel "length, tokens"
plot for [i = 1:n_shown] data using "tokens":(of(slot[i], "select_share")) with linespoints linetype slot[i] notitle
unset multiplot
