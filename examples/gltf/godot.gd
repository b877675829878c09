# Read a glb as Godot 3 has imported it: names of shapes, times of keys and weights.
#     godot3-server --path PROJECT --export-pack check out.pck   (imports what is in the project)
#     godot3-server --path PROJECT -s godot.gd
# PROJECT holds talk.glb, this file, an empty project.godot, and export_presets.cfg with a preset
# called check. With a window, open the project in the editor instead. shown.json takes what is read.
extends SceneTree

func _init():
	var scene = load("res://talk.glb").instance()
	var mesh = find(scene, "MeshInstance").mesh
	var names = []
	for shape in mesh.get_blend_shape_count():
		names.append(mesh.get_blend_shape_name(shape))
	var player = find(scene, "AnimationPlayer")
	var animation = player.get_animation(player.get_animation_list()[0])
	var times = {}
	var weights = {}
	for track in animation.get_track_count():
		var path = str(animation.track_get_path(track)).split("blend_shapes/")
		if path.size() == 2:
			times[path[1]] = []
			weights[path[1]] = []
			for key in animation.track_get_key_count(track):
				times[path[1]].append(animation.track_get_key_time(track, key))
				weights[path[1]].append(animation.track_get_key_value(track, key))
	print(names.size(), " shapes, ", names[0], " ... ", names[-1], ", of which ", times.size(), " move")
	var file = File.new()
	file.open("res://shown.json", File.WRITE)
	file.store_string(JSON.print({"names": names, "times": times, "weights": weights}))
	file.close()
	quit()

func find(node, kind):
	if node.get_class() == kind:
		return node
	for child in node.get_children():
		var found = find(child, kind)
		if found:
			return found
	return null
