# Latency against density at the longest length: cd RUN_DIR/plots && gnuplot -c latency_density.gp latency_density svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("latency_density.gp")]."style.gp"

level = NaN
stats data using (column("slot") == dense ? (level = column("total_ms"), 0) : 0) nooutput
stats data using (column("slot") < dense ? column("density") : NaN) nooutput name "kept"
set xrange [0:kept_max * 1.08]
set yrange [0:*]
set xlabel "density: kept / all causal blocks"
set ylabel "time of one layer, ms"
has_dense = level == level
plot for [i = 1:n_shown] data using "density":(of(slot[i], "attend_ms")) \
         with lines linecolor rgb colour[slot[i]] linewidth 1.5 dashtype (2, 3) notitle, \
     for [i = 1:n_shown] data using "density":(of(slot[i], "total_ms")):"total_ms_lo":"total_ms_hi" \
         with yerrorbars linecolor rgb colour[slot[i]] linewidth 1.5 pointtype shape[slot[i]] pointsize 0.1 notitle, \
     for [i = 1:n_shown] data using "density":(of(slot[i], "total_ms")) \
         with linespoints linetype slot[i] title label[slot[i]], \
     NaN with lines linecolor rgb faint linewidth 1.5 dashtype (2, 3) title "attend alone", \
     level with lines linecolor rgb "#000000" linewidth 1.5 title (has_dense ? "dense" : ""), \
     level * x with lines linecolor rgb "#000000" linewidth 1.5 dashtype (8, 5) \
         title (has_dense ? "ideal" : "")
