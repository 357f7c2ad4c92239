# Latency against density at the longest length: cd RUN_DIR/plots && gnuplot -c latency_density.gp latency_density svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("latency_density.gp")]."style.gp"

array level[2] = [NaN, NaN]
stats data using (column("slot") >= dense ? (level[int(column("slot")) - dense + 1] = column("total_ms"), 0) : 0) nooutput
stats data using (@shown ? column("density") : NaN) nooutput name "kept"
stats data using (column("slot") > 0 ? column("total_ms") : NaN) nooutput name "y"
stats data using (@shown && column("total_ms_hi") == column("total_ms_hi") ? column("total_ms_hi") : NaN) nooutput name "top"
# linear axes show overheads best, as what is above `ideal`; methods that differ a lot need logarithmic ones
apart = y_max > 30 * y_min
low = apart ? kept_min / 1.15 : 0; high = kept_max * (apart ? 1.15 : 1.08)
axis = "x"; eval (apart ? log_axis : plain_axis)
low = apart ? y_min / 1.3 : 0; high = (top_max > y_max ? top_max : y_max) * (apart ? 1.3 : 1.06)
axis = "y"; eval (apart ? log_axis : plain_axis)
set xlabel "density: kept / all causal blocks"
set ylabel "time of one layer, ms"
has_dense = level[1] == level[1]
single = n_runs == 0
x_of = "density"; y_of = "total_ms"; n_extra = 3
load ARG0[1:strlen(ARG0) - strlen("latency_density.gp")]."ends.gp"
plot for [i = 1:n_shown] data using "density":(single ? of(slot[i], "attend_ms") : NaN) \
         with lines linecolor rgb colour[slot[i]] linewidth 1.5 dashtype (2, 3) notitle, \
     for [i = 1:n_shown] data using "density":(of(slot[i], "total_ms")):"total_ms_lo":"total_ms_hi" \
         with yerrorbars linecolor rgb colour[slot[i]] linewidth 1.5 dashtype solid pointtype shape[slot[i]] \
         pointsize 0.1 notitle, \
     for [i = 1:n_shown] data using "density":(of(slot[i], "total_ms")) \
         with linespoints linetype slot[i] title named(slot[i]), \
     NaN with lines linecolor rgb faint linewidth 1.5 dashtype (2, 3) title (single ? "attend alone" : ""), \
     level[1] with lines linecolor rgb "#000000" linewidth 1.5 dashtype solid title (has_dense ? "dense" : ""), \
     level[2] with lines linecolor rgb "#000000" linewidth 1.5 dashtype (8, 4) notitle, \
     (single ? level[1] * x : NaN) with lines linecolor rgb "#000000" linewidth 1.5 dashtype (8, 5) \
         title (has_dense && single ? "ideal" : ""), \
     for [r = 1:n_runs] NaN with linespoints linetype dense + r title run[r]
