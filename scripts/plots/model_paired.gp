# Divergence over that of the baseline at nearly equal density, paired over texts:
# cd RUN_DIR/plots && gnuplot -c model_paired.gp model_paired svg
name = ARG1
format = ARG2
here = ARG0[1:strlen(ARG0) - strlen("model_paired.gp")]
across_is = "ratio"
across_title = "KL divergence / that of "
level = 1
load here."forest.gp"
