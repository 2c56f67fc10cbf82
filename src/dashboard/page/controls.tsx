// the controls that views place themselves
export { NamePicker, TextFilter } from './controls/pickers.tsx';
