# Error, and cost of selecting, against each parameter that is swept, a row of panels for each:
# cd RUN_DIR/plots && gnuplot -c sweep.gp sweep svg
name = ARG1
format = ARG2
here = ARG0[1:strlen(ARG0) - strlen("sweep.gp")]
n_panels = 0
array parameter[4]
array scale[4]
set datafile columnheaders separator comma
stats "data/".name.".csv" using (p = int(column("panel")), n_panels = p > n_panels ? p : n_panels, \
    parameter[p] = strcol("parameter"), scale[p] = strcol("scale"), 1) nooutput
tall = n_panels * 290 + 24
load here."style.gp"

array first[4] # slot of a panel
array last[4]
do for [p = 1:4] { first[p] = 0 }
stats data using (p = int(column("panel")), s = int(column("slot")), first[p] = first[p] > 0 ? first[p] : s, \
    last[p] = s, 1) nooutput
of_panel(p, y) = column("panel") == p ? column(y) : NaN
titled(s) = s eq "mu" ? "μ" : s eq "beta" ? "β" : s

# limits of an axis with room on both sides; `name`_min and _max of stats
linear_axis = "\
    room = high > low ? 0.06 * (high - low) : 0.5; \
    eval sprintf('unset logscale %s; set %srange [%g:%g]; set %stics auto; unset m%stics', axis, axis, low - room, high + room, axis, axis)"
no_ranges = "unset logscale; set xrange [*:*]; set yrange [*:*]"
set xlabel offset 0, 0.3
set multiplot
do for [p = 1:n_panels] {
    # stats keeps to ranges
    eval no_ranges
    panel = parameter[p]
    load here."published.gp"
    set tmargin at screen below(72 + (n_panels - p) * 290 + 214)
    set bmargin at screen below(72 + (n_panels - p) * 290)

    stats data using (of_panel(p, "x")) nooutput name "x"
    stats data using (of_panel(p, "rel_l2")) nooutput name "y"
    axis = "x"; low = x_min; high = x_max
    if (scale[p] eq "log2") {
        set logscale x 2
        set xrange [low / 1.2:high * 1.2]
        set xtics ()
        do for [e = -9:20] { if (2.0**e >= low && 2.0**e <= high) { set xtics add (sprintf("%g", 2.0**e) 2.0**e) } }
    }
    if (scale[p] eq "log") { low = low / 1.2; high = high * 1.2; eval log_axis }
    if (scale[p] eq "linear") {
        eval linear_axis
        raw = (high - low) / 5
        decade = 10.0**floor(log10(raw))
        step = (raw > 5 * decade ? 10 : raw > 2 * decade ? 5 : raw > decade ? 2 : 1) * decade
        set xtics step
    }
    set xtics nomirror textcolor rgb ink
    set xlabel titled(parameter[p]) noenhanced

    set lmargin at screen 84.0 / width
    set rmargin at screen 0.37
    # room for the names of lines
    axis = "y"; low = y_min / 1.1; high = y_max * (n_here > 0 ? 1.3 * (y_max / y_min)**0.25 : 1.1); eval log_axis
    set ylabel "relative L2 error"
    set key at screen 0.705, screen below(72 + (n_panels - p) * 290 + 218) top left Left reverse font small
    plot for [s = first[p]:last[p]] data using "x":(of(s, "rel_l2")) with linespoints linetype s - first[p] + 1 \
             linewidth 1.8 title label[s]
    unset label
    unset arrow
    unset key

    # the x axis stays as it is
    unset logscale y
    set yrange [*:*]
    stats data using (of_panel(p, "select_flops")) nooutput name "f"
    timed = 0
    t_min = t_max = NaN
    stats data using (t = of_panel(p, "select_time"), t == t ? (timed = 1, t_min = lesser(t, t_min), t_max = greater(t, t_max), 1) : 0) nooutput
    set lmargin at screen 0.37 + 92.0 / width
    set rmargin at screen 0.70
    axis = "y"; low = lesser(f_min, t_min); high = greater(f_max, t_max)
    if (low > 0) { low = low / 1.2; high = high * 1.2; eval log_axis } else { eval linear_axis }
    set ylabel timed ? "selecting, %" : "selecting, % of dense FLOPs"
    costs = "for [s = first[p]:last[p]] data using 'x':(of(s, 'select_flops')) with linespoints \
        linetype s - first[p] + 1 linewidth 1.8 notitle"
    times = "for [s = first[p]:last[p]] data using 'x':(of(s, 'select_time')) with linespoints \
        linecolor rgb colour[s - first[p] + 1] linewidth 1.2 dashtype (2, 3) \
        pointtype shape[s - first[p] + 1] pointsize 0.5 notitle"
    eval "plot ".costs.(timed ? ", ".times : "")
}
load here."inset.gp"
unset multiplot
