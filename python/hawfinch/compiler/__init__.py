"""From a graph to a plan: differentiate, rewrite, fuse, place, lower. One file a stage."""
