# Published values on axes of their own, in the band that style.gp leaves below the figure: load it after the
# last plot of a multiplot. Reads data/NAME.published.csv, kinds inset and inset-axis.
if (n_insets > 0) {
    unset label
    unset arrow
    # stats keeps to ranges
    unset logscale
    set xrange [*:*]
    set yrange [*:*]
    inset_titles = "|"
    n_places = 0
    array inset_label[n_insets]
    array inset_x[n_insets]
    array inset_y[n_insets]
    array inset_h[n_insets]
    array inset_v[n_insets]
    m = 0
    stats published using (strcol("kind") ne "inset" ? NaN \
        : (m = m + 1, inset_label[m] = strcol("label"), inset_h[m] = column("h"), inset_v[m] = column("v"), \
           inset_y[m] = column("y"), inset_x[m] = column("x"), inset_x[m])) nooutput name "x"
    stats published using (strcol("kind") eq "inset-axis" ? (inset_titles = strcol("label")."|", 0) : 0) nooutput
    stats published using (strcol("kind") eq "inset" ? column("y") : NaN) nooutput name "y"
    stats published using (strcol("kind") eq "inset" && column("x") >= 1 && column("x") == floor(column("x")) \
        ? (n_places = n_places + 1, 0) : 0) nooutput
    bar = strstrt(inset_titles, "|")
    rest = inset_titles[bar + 1:]
    unset mxtics
    unset mytics
    unset key
    set title ""
    set lmargin at screen 98.0 / width
    set rmargin at screen 0.74
    set tmargin at screen below(-12)
    set bmargin at screen below(-168)
    set xtics auto nomirror textcolor rgb ink font small
    set ytics auto nomirror textcolor rgb ink font small
    # whole numbers are places in order, which labels name
    if (n_places == n_insets) { set xtics format "" 1 scale 0 }
    # sides of labels were chosen for these ranges (harness/plot_inset.c)
    pad(lo, hi) = hi > lo ? 0.2 * (hi - lo) : 1
    set xrange [x_min - pad(x_min, x_max):x_max + pad(x_min, x_max)]
    set yrange [y_min - pad(y_min, y_max):y_max + pad(y_min, y_max)]
    set xlabel strlen(rest) > 1 ? rest[1:strlen(rest) - 1] : "" noenhanced font small
    set ylabel inset_titles[1:bar - 1] noenhanced font small
    do for [m = 1:n_insets] {
        set label m inset_label[m] at first inset_x[m], first inset_y[m] noenhanced textcolor rgb ink font small
        if (inset_h[m] > 0) { set label m left }
        if (inset_h[m] < 0) { set label m right }
        if (inset_h[m] == 0) { set label m center }
        set label m offset inset_h[m] * (inset_v[m] == 0 ? 1.6 : -0.5), 0.8 * inset_v[m]
    }
    plot published using "x":(strcol("kind") eq "inset" ? column("y") : NaN) with points pointtype 3 pointsize 1.3 \
             linecolor rgb mark_grey linewidth 1.5 notitle
}
