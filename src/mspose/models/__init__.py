"""Networks in MindSpore, one file each; a network maps pictures to maps, a codec knows what the maps mean."""
