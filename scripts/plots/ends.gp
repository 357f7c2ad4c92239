# Curves named at their right ends, in their colours, in place of the key: where there are few and all end at
# the right. Load it when the ranges are set (x_low, x_high, x_log, and of y); x_of and y_of name the columns,
# `ended` is 1 where the dense baseline is a curve too. Sets `direct`.
ended_slot(i) = i > n_shown ? dense : slot[i]
n_ends = n_shown + (exists("ended") ? ended : 0)
x_part(v) = x_log ? log(v / x_low) / log(x_high / x_low) : (v - x_low) / (x_high - x_low)
y_part(v) = y_log ? log(v / y_low) / log(y_high / y_low) : (v - y_low) / (y_high - y_low)
array end_x[dense]
array end_y[dense]
direct = n_shown <= 6 && n_runs == 0
longest = 0
do for [i = 1:n_ends] {
    if (direct) {
        k = ended_slot(i)
        end_x[k] = NaN
        stats data using (column("slot") == k && column(y_of) == column(y_of) \
            && !(column(x_of) < end_x[k]) ? (end_x[k] = column(x_of), end_y[k] = column(y_of), 0) : 0) nooutput
        direct = x_part(end_x[k]) > 0.86 && y_part(end_y[k]) >= 0 && y_part(end_y[k]) <= 1
        longest = strlen(label[k]) > longest ? strlen(label[k]) : longest
    }
}
if (direct) {
    # in pixels from the bottom axis; names that are closer than a line push each other apart
    tall_axis = height - 16.0 - below(72) * height
    room = tall_axis - 25.0 * n_extra
    array spot[dense]
    do for [i = 1:n_ends] {
        k = ended_slot(i)
        spot[k] = y_part(end_y[k]) * tall_axis + 1e-3 * (n_ends - i)
    }
    do for [turn = 1:200] {
        do for [i = 1:n_ends] {
            k = ended_slot(i)
            do for [j = i + 1:n_ends] {
                m = ended_slot(j)
                near = 20 - abs(spot[k] - spot[m])
                push = near > 0 ? (spot[k] >= spot[m] ? 0.5 : -0.5) * near : 0
                spot[k] = spot[k] + push
                spot[m] = spot[m] - push
            }
            spot[k] = spot[k] > room - 8 ? room - 8 : spot[k] < 2 ? 2 : spot[k]
        }
    }
    # what is left of the key has samples beside its texts
    aside = 44 + 8.2 * longest
    aside = n_extra > 0 && aside < 170 ? 170.0 : aside
    edge = 1 - aside / width
    set rmargin at screen edge
    set key at screen edge + 6.0 / width, screen 1 - 12.0 / height top left Left reverse
    do for [i = 1:n_ends] {
        k = ended_slot(i)
        level_of = below(72) + spot[k] / height
        set arrow 300 + i from first end_x[k], first end_y[k] to screen edge + 16.0 / width, screen level_of \
            nohead linecolor rgb colour[k] linewidth 0.8 dashtype solid
        set label 300 + i label[k] at screen edge + 20.0 / width, screen level_of left noenhanced \
            textcolor rgb colour[k]
    }
}
