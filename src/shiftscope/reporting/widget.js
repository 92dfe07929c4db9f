// Appended to app.js in a notebook: the explorer as a widget, see anywidget.

function render({model, el}) {
  const integer = (name) => Number.isInteger(model.get(name)) ? model.get(name) : undefined;
  let view;
  const open = () => {
    view?.destroy();
    view = mountExplorer(el, model.get("payload"), {
      image: integer("image"), dy: integer("dy"), dx: integer("dx"),
      onMove: (index) => {
        for (const name of ["image", "dy", "dx"]) model.set(name, index[name]);
        model.save_changes();
      },
    });
  };
  const changeImage = () => view.setImage(model.get("image"));
  const move = () => view.setPlacement(model.get("dy"), model.get("dx"));
  const listeners = {"change:payload": open, "change:image": changeImage, "change:dy": move, "change:dx": move};
  open();
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
  return () => {
    for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
    view.destroy();
  };
}

export default {render};
