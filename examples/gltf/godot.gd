# Read a glb that Godot 3 has imported: shape names and key times.
#     godot3-server --path PROJECT --editor --quit && godot3-server --path PROJECT -s godot.gd
# PROJECT holds project.godot, talk.glb and this file.
extends SceneTree

func _init():
	var scene = load("res://talk.glb").instance()
	var face = find(scene, "MeshInstance")
	var mesh = face.mesh
	print(mesh.get_blend_shape_count(), " shapes, ", mesh.get_blend_shape_name(0), " ... ",
		mesh.get_blend_shape_name(mesh.get_blend_shape_count() - 1))
	var player = find(scene, "AnimationPlayer")
	var animation = player.get_animation(player.get_animation_list()[0])
	var off = 0.0
	var keys = 0
	for track in animation.get_track_count():
		if "blend_shapes" in str(animation.track_get_path(track)):
			keys = animation.track_get_key_count(track)
			for key in keys:
				off = max(off, abs(animation.track_get_key_time(track, key) - (key + 0.5) / 30))
	print(keys, " keys, at most ", 1000 * off, " ms off")
	quit()

func find(node, kind):
	if node.get_class() == kind:
		return node
	for child in node.get_children():
		var found = find(child, kind)
		if found:
			return found
	return null
